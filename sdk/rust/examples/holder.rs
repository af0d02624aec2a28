//! Holds a lock for as long as it can, and says what becomes of it: `holder KEY`. Of several that run at the same time one holds it, and the others wait in turn.
use std::{io::Write, time::Duration};

use mesh_controller_sdk::{Error, Mesh, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let key = std::env::args().nth(1).unwrap_or_else(|| "holder".to_owned());
    let mesh = Mesh::from_env()?;
    say(&format!("{} asks for {key}", mesh.myself().await?.instance));
    let options = Options { ttl: Duration::from_secs(10), wait: None, ..Options::default() };
    loop {
        let held = mesh.locks().acquire(&key, &options).await?;
        say(&format!("holds {key} with fence {}", held.fence()));
        let lost = held.lost().await;
        say(&format!("{key}: {lost}"));
    }
}

fn say(line: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stdout(), "{line}");
}
