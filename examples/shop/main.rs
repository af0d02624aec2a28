//! A small shop as one program: `shop frontend`, `shop backend` and `shop worker` are the three services of mesh.yaml.
//! What it shows of an instance: it listens on `$PORT`, answers its health path, and on SIGTERM ends what it has begun and then itself.
mod backend;
mod frontend;
mod server;
mod worker;

use anyhow::bail;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let part = std::env::args().nth(1);
    match part.as_deref() {
        Some("frontend") => server::serve(frontend::answer).await,
        Some("backend") => server::serve(backend::answer).await,
        Some("worker") => worker::work().await,
        Some(_) | None => bail!("usage: shop frontend|backend|worker"),
    }
}
