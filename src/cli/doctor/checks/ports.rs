//! What is to be listened on.
use crate::doctor::{
    facts::{Facts, Port, PortState},
    finding::Finding,
};

/// One address. A controller that runs already, or its socket unit, is no trouble.
pub(super) fn port(port: &Port) -> Finding {
    let check = match port.flag {
        "--api-listen" => "API port",
        "--router-listen" => "router port",
        _ => "admin port",
    };
    let Port { what, flag, address, state } = port;
    let number = address.port();
    match state {
        PortState::Free => Finding::ok(check, format!("{address} is free")),
        PortState::Taken(Some((name, pid))) if name == "mesh-controller" || name == "mesh" => {
            Finding::ok(check, format!("{address} is that of a controller that runs ({name}, process {pid})"))
        }
        PortState::Taken(Some((name, 1))) => Finding::ok(check, format!("{address} is that of a socket unit ({name})")),
        PortState::Taken(who) => {
            let who = who.as_ref().map_or_else(|| "a process of another user".to_owned(), |(name, pid)| format!("{name} (process {pid})"));
            Finding::error(
                check,
                format!("{address} is taken by {who}"),
                format!("stop that one (ss -ltnp 'sport = :{number}' shows it), or {flag} ADDRESS:PORT"),
            )
        }
        PortState::Denied(first) => Finding::error(
            check,
            format!("{address}: ports below {first} are not for users"),
            format!(
                "sudo sysctl -w net.ipv4.ip_unprivileged_port_start={number}, or a socket unit of the system (sudo mesh-controller install), or {flag} with a higher port"
            ),
        ),
        PortState::Unusable(why) => {
            Finding::error(check, format!("{address}: the {what} cannot listen there: {why}"), format!("{flag} ADDRESS:PORT"))
        }
    }
}

/// The ports of instances.
pub(super) fn range(facts: &Facts) -> Finding {
    const CHECK: &str = "instances' ports";
    let range = &facts.range;
    let (from, to) = (range.ports.from.0, range.ports.to.0);
    let all = usize::from(to - from) + 1;
    let shown = format!("{from}-{to}");
    if range.taken >= all {
        return Finding::error(CHECK, format!("all of {shown} are taken"), "--port-range FROM-TO");
    }
    if let Some((first, last)) = range.ephemeral.filter(|(first, last)| *first <= to && from <= *last) {
        return Finding::warning(
            CHECK,
            format!("{shown} overlaps with the ports of outgoing connections ({first}-{last}): one of those may sit on an instance's port"),
            "--port-range 20000-29999",
        );
    }
    Finding::ok(CHECK, format!("{} of {shown} are free", all - range.taken))
}
