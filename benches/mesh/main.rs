//! `cargo bench`: what the controller and its router cost, as a table on standard output. Each figure that depends on the machine stands
//! beside a peer's from the same run. `cargo bench -- instances` runs one part; the parts are instances, endpoints, restart, router,
//! routes, locks (beside redis-server and tests/kube's etcd, where they are), containers (which needs root and Podman) and cluster (which needs what tests/kube/cluster.sh build makes).
mod cluster;
mod containers;
mod controller;
mod endpoints;
mod engine;
mod instances;
mod locks;
mod origin;
mod proc;
mod restart;
mod router;
mod routes;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if words.first().is_some_and(|word| word == "origin") {
        return origin::main();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let chosen = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    let result = runtime.block_on(async {
        if chosen("instances") {
            instances::run().await?.print();
        }
        if chosen("restart") {
            restart::run().await?.print();
        }
        if chosen("endpoints") {
            endpoints::run().await?.print();
        }
        if chosen("router") {
            router::run().await?.print();
        }
        if chosen("routes") {
            routes::run()?.print();
        }
        if chosen("locks") {
            locks::run().await?.print();
        }
        if chosen("containers") {
            containers::run().await?.print();
        }
        if chosen("cluster") {
            cluster::run().await?.print();
        }
        anyhow::Ok(())
    });
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("bench: {error:#}");
    ExitCode::FAILURE
}
