//! Those of an instance's tree who carry no nonce (a daemon that made its environment anew, a program that changes its title). While the shim lives it
//! holds them; when it is killed nothing would tell whose they are. So they are written down while that can be seen.
use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use mesh_base::exhausted::seen;
use mesh_shim::{
    dir::InstanceDir,
    identity::{self, Proc},
    record::{self, Record},
    tree,
};

/// The file, beside the record.
const STRAYS: &str = "strays.json";

/// The file's content. It belongs to the record with the same nonce.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    nonce: String,
    processes: Vec<Proc>,
}

/// What is known of an instance's tree.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    looked: Option<Instant>,
    written: Vec<Proc>,
}

impl Strays {
    /// Whether the last look is so long ago, or there was none.
    pub(crate) fn is_due(&self, now: Instant, every: Duration) -> bool {
        self.looked.is_none_or(|looked| now.duration_since(looked) >= every)
    }

    /// Looks at the tree, and writes down what is new. What cannot be seen or written now is seen the next time.
    pub(crate) fn look(&mut self, record: &Record, dir: &InstanceDir) {
        self.looked = Some(Instant::now());
        let Ok(strays) = unmarked(record) else { return };
        let written = Written { nonce: record.nonce.clone(), processes: strays };
        if written.processes != self.written && record::write(&dir.file(STRAYS), &written).is_ok() {
            self.written = written.processes;
        }
    }
}

/// Those of its tree who do not carry the nonce.
fn unmarked(record: &Record) -> io::Result<Vec<Proc>> {
    let mut unmarked = Vec::new();
    for pid in tree::descendants(record.shim.pid)? {
        // Who carries it now may execute another program without it, so each is asked again every time.
        if !identity::has_nonce(pid, &record.nonce)? {
            unmarked.extend(seen(identity::identify(pid))?);
        }
    }
    unmarked.sort_unstable_by_key(|process| process.pid);
    Ok(unmarked)
}

/// Those who were written down of a start.
pub(crate) fn of(record: &Record, dir: &InstanceDir) -> io::Result<Vec<Proc>> {
    let written: Option<Written> = seen(record::read(&dir.file(STRAYS)))?.flatten();
    Ok(written.filter(|written| written.nonce == record.nonce).unwrap_or_default().processes)
}
