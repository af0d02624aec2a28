//! `mesh doctor`: looks at the machine, and says what stands in the way and the command that mends it. Changes nothing, but with
//! `--remove-unowned`, and needs no controller.
//!
//! [`read`] takes values from the machine into [`facts::Facts`]; [`checks`] makes findings of them, and is pure.
mod checks;
mod facts;
mod finding;
mod read;
mod removal;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use self::finding::{Finding, Level};
use super::{
    address::address,
    exit::{Code, Failure, Result},
    output,
    paint::Paint,
    state_dir,
};
use mesh_api::node::PortRange;

/// Look at the machine, and say what stands in the way and the command that mends it.
#[derive(Debug, Args)]
pub struct Doctor {
    /// What is to run the instances: what it needs and is missing is an error then, and what others need is left out.
    #[arg(long, env = "MESH_BACKEND", value_enum)]
    backend: Option<Purpose>,
    /// The socket of the container engine [default: $CONTAINER_HOST, $DOCKER_HOST, the user's Podman, the machine's Podman, Docker].
    #[arg(long, env = "MESH_ENGINE_SOCKET", value_name = "PATH")]
    engine_socket: Option<String>,
    /// Where the API is to listen.
    #[arg(long, value_parser = address, env = "MESH_API_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:7443")]
    api_listen: SocketAddr,
    /// Where the router is to listen.
    #[arg(long, value_parser = address, env = "MESH_ROUTER_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    router_listen: SocketAddr,
    /// Where the admin endpoints are to listen.
    #[arg(long, value_parser = address, env = "MESH_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin_listen: SocketAddr,
    /// Where instances are to get their ports from.
    #[arg(long, env = "MESH_PORT_RANGE", value_name = "FROM-TO", default_value_t)]
    port_range: PortRange,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Remove the units, containers, networks and secrets that are left of controllers whose state directories are gone. This is all that is done then.
    #[arg(long, conflicts_with = "json")]
    remove_unowned: bool,
    /// Their volumes too, with all that is in them.
    #[arg(long, requires = "remove_unowned")]
    volumes: bool,
}

/// What is to run the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// Plain processes.
    Process,
    /// Podman containers.
    Podman,
    /// Quadlet units under systemd.
    Quadlet,
}

impl Doctor {
    /// Looks, and reports.
    pub async fn run(self, state_dir: Option<PathBuf>) -> Result {
        let of_project = || std::env::current_dir().ok().and_then(|current| state_dir::in_project(&current));
        let state_dir = state_dir::or_default(state_dir.or_else(of_project))?;
        if self.remove_unowned {
            return removal::remove_unowned(self.engine_socket, &state_dir, self.volumes).await;
        }
        let facts = read::facts(&read::Where {
            purpose: self.backend,
            engine_socket: self.engine_socket,
            addresses: [
                ("API", "--api-listen", self.api_listen),
                ("router", "--router-listen", self.router_listen),
                ("admin endpoints", "--admin-listen", self.admin_listen),
            ],
            port_range: self.port_range,
            state_dir,
        })
        .await;
        let findings = checks::all(&facts);
        output::print(&if self.json { as_json(&findings) } else { as_text(&findings, Paint::detect()) })?;
        if findings.iter().any(|finding| finding.level == Level::Error) { Err(Failure::said(Code::Failed)) } else { Ok(()) }
    }
}

fn as_json(findings: &[Finding]) -> String {
    let checks: Vec<_> = findings
        .iter()
        .map(|finding| json!({ "check": finding.check, "level": finding.level.name(), "message": finding.text, "fix": finding.fix }))
        .collect();
    format!("{:#}\n", json!({ "checks": checks }))
}

fn as_text(findings: &[Finding], paint: Paint) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for finding in findings {
        // Padded before it is coloured.
        let level = format!("{:<7}", finding.level.name());
        let level = match finding.level {
            Level::Ok => level,
            Level::Warning => paint.bold(&level),
            Level::Error => paint.red(&level),
        };
        lines.push(format!("{level}  {:<width$}  {}\n", finding.check, finding.text));
        if let Some(fix) = &finding.fix {
            lines.push(format!("{:7}  {:<width$}  fix: {fix}\n", "", ""));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    lines.push(format!("{} ok, {} warnings, {} errors\n", count(Level::Ok), count(Level::Warning), count(Level::Error)));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_is_a_line_and_its_remedy_stands_below_it() {
        let findings = [
            Finding::ok("kubectl", "/usr/bin/kubectl"),
            Finding::warning("lingering", "it is off", "loginctl enable-linger bob"),
            Finding::error("engine", "there is none", "apt-get install podman"),
        ];
        assert_eq!(
            as_text(&findings, Paint::OFF),
            "ok       kubectl    /usr/bin/kubectl\n\
             warning  lingering  it is off\n                    fix: loginctl enable-linger bob\n\
             error    engine     there is none\n                    fix: apt-get install podman\n\
             1 ok, 1 warnings, 1 errors\n"
        );
        let json: serde_json::Value = serde_json::from_str(&as_json(&findings)).unwrap();
        assert_eq!(
            json["checks"][1],
            json!({ "check": "lingering", "level": "warning", "message": "it is off", "fix": "loginctl enable-linger bob" })
        );
        assert_eq!(json["checks"][0]["fix"], serde_json::Value::Null);
    }
}
