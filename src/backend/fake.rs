//! A backend in memory, for tests: does what it was scripted to do and writes down what it was told.
mod instance;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

use self::instance::FakeInstance;
use super::{Error, ExecOutput, LogQuery};
use mesh_plan::instance::{Action, ExitHow, InstanceKey, Launch, Observed, PortOwner};

/// What an instance does when it is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStop {
    /// It ends at once, by SIGTERM; with a grace of zero by SIGKILL.
    #[default]
    Exit,
    /// It stays `stopping` until the test ends it by [`FakeBackend::exit`]; a grace of zero ends it all the same.
    Wait,
}

/// The fake. A clone is the same one.
#[derive(Debug, Clone)]
pub struct FakeBackend(Arc<Mutex<World>>, watch::Sender<Result<(), String>>);

#[derive(Debug, Default)]
struct World {
    instances: BTreeMap<InstanceKey, FakeInstance>,
    actions: Vec<Action>,
    failing: BTreeMap<String, String>,
    taken: BTreeSet<u16>,
    on_stop: OnStop,
    silent: bool,
    exec: Option<ExecOutput>,
    run_out: bool,
    executed: Vec<Vec<String>>,
    pids: u32,
    subscribers: Vec<mpsc::UnboundedSender<InstanceKey>>,
}

impl Default for FakeBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeBackend {
    /// A machine on which nothing runs. A started program listens on its port at once.
    pub fn new() -> Self {
        Self(Arc::default(), watch::Sender::new(Ok(())))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it relies on answers, or does not for this cause.
    pub fn set_health(&self, health: Result<(), String>) {
        drop(self.1.send_replace(health));
    }

    /// Whether it answers.
    pub fn health(&self) -> watch::Receiver<Result<(), String>> {
        self.1.subscribe()
    }

    /// Ends a running program, and says "look again".
    pub fn exit(&self, key: &InstanceKey, how: ExitHow) {
        self.world().change(key, |instance| instance.end(how));
    }

    /// Lets every start of an instance whose name begins like this fail with this text, until [`FakeBackend::allow_start`].
    pub fn fail_start(&self, name: &str, text: &str) {
        self.world().failing.insert(name.to_owned(), text.to_owned());
    }

    /// Lets it start again.
    pub fn allow_start(&self, name: &str) {
        self.world().failing.remove(name);
    }

    /// Programs that are started from now on listen on nothing until [`FakeBackend::own_port`] says so.
    pub fn listen_late(&self) {
        self.world().silent = true;
    }

    /// Says who listens on a running instance's port.
    pub fn own_port(&self, key: &InstanceKey, owner: PortOwner) {
        self.world().change(key, |instance| instance.owner = owner);
    }

    /// What instances do when told to stop.
    pub fn on_stop(&self, on_stop: OnStop) {
        self.world().on_stop = on_stop;
    }

    /// Somebody else on the machine listens on this port.
    pub fn take_port(&self, port: u16) {
        self.world().taken.insert(port);
    }

    /// What every command run by `exec` ends with; code 0 unless set.
    pub fn exec_ends(&self, output: ExecOutput) {
        self.world().exec = Some(output);
    }

    /// From now on no command can be run, for want of descriptors; or it can again.
    pub fn run_out(&self, yes: bool) {
        self.world().run_out = yes;
    }

    /// The argument vectors that `exec` was given so far.
    pub fn executed(&self) -> Vec<Vec<String>> {
        self.world().executed.clone()
    }

    /// Adds a line to an instance's log.
    pub fn log(&self, key: &InstanceKey, line: &str) {
        self.world().change(key, |instance| instance.log.push(Bytes::from(format!("{line}\n"))));
    }

    /// Every action so far, also those that failed.
    pub fn actions(&self) -> Vec<Action> {
        self.world().actions.clone()
    }

    /// Every action since the last call.
    pub fn take_actions(&self) -> Vec<Action> {
        std::mem::take(&mut self.world().actions)
    }

    /// What runs, by name.
    pub fn running(&self) -> Vec<String> {
        let world = self.world();
        world.instances.iter().filter(|(_, instance)| instance.runs()).map(|(key, _)| key.name.clone()).collect()
    }
}

#[expect(clippy::unused_async, reason = "the backends have the same methods")]
impl FakeBackend {
    /// Looks at one instance.
    pub async fn observe(&self, key: &InstanceKey) -> Result<Observed, Error> {
        Ok(self.world().instances.get(key).map_or(Observed::Absent, FakeInstance::observed))
    }

    /// Does one action, as scripted.
    pub async fn execute(&self, action: Action) -> Result<(), Error> {
        let mut world = self.world();
        world.actions.push(action.clone());
        match action {
            Action::Start(launch) => world.start(*launch),
            Action::Stop { key, grace } => {
                let at_once = world.on_stop == OnStop::Exit || grace.is_zero();
                world.change(&key, |instance| instance.stop(at_once, grace));
                Ok(())
            }
            Action::Remove(key) if world.instances.get(&key).is_some_and(FakeInstance::runs) => Err(Error::StillRuns(key)),
            Action::Remove(key) => {
                world.instances.remove(&key);
                Ok(())
            }
        }
    }

    /// Everything that was started and not removed.
    pub async fn list(&self) -> Result<Vec<InstanceKey>, Error> {
        Ok(self.world().instances.keys().cloned().collect())
    }

    /// A key for every change since the call.
    pub fn changes(&self) -> BoxStream<'static, InstanceKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.world().subscribers.push(sender);
        UnboundedReceiverStream::new(receiver).boxed()
    }

    /// Ends as scripted, at once.
    pub async fn exec(&self, _launch: &Launch, argv: &[String], _timeout: Duration) -> Result<ExecOutput, Error> {
        let mut world = self.world();
        world.executed.push(argv.to_vec());
        if world.run_out {
            return Err(Error::System { act: "start the shim".to_owned(), source: rustix::io::Errno::MFILE.into() });
        }
        Ok(world.exec.clone().unwrap_or(ExecOutput { code: Some(0), output: String::new(), timed_out: false }))
    }

    /// The lines that were put there; heeds `tail_lines` only.
    #[expect(clippy::needless_pass_by_value, reason = "the backends have the same methods")]
    pub fn logs(&self, key: &InstanceKey, query: LogQuery) -> BoxStream<'static, Result<Bytes, Error>> {
        let mut lines = self.world().instances.get(key).map(|instance| instance.log.clone()).unwrap_or_default();
        if let Some(tail) = query.tail_lines {
            let skip = lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
            lines.drain(..skip);
        }
        futures::stream::iter(lines.into_iter().map(Ok)).boxed()
    }

    /// Neither taken by the script nor by a running instance.
    pub fn port_is_free(&self, port: u16) -> bool {
        let world = self.world();
        !world.taken.contains(&port) && !world.instances.values().any(|instance| instance.runs() && instance.launch.port() == Some(port))
    }
}

impl World {
    fn start(&mut self, launch: Launch) -> Result<(), Error> {
        if let Some(text) = self.failing.iter().find_map(|(name, text)| launch.key().name.starts_with(name).then_some(text)) {
            return Err(Error::System { act: format!("start {}", launch.key()), source: io::Error::other(text.clone()) });
        }
        let key = launch.key().clone();
        let done = |instance: &FakeInstance| instance.runs() || instance.launch.attempt() == launch.attempt();
        if !self.instances.get(&key).is_some_and(done) {
            self.pids += 1;
            let log = self.instances.remove(&key).map(|former| former.log).unwrap_or_default();
            self.instances.insert(key.clone(), FakeInstance::start(launch, 1000 + self.pids, !self.silent, log));
            self.tell(&key);
        }
        Ok(())
    }

    fn change(&mut self, key: &InstanceKey, change: impl FnOnce(&mut FakeInstance)) {
        if let Some(instance) = self.instances.get_mut(key) {
            change(instance);
            self.tell(key);
        }
    }

    fn tell(&mut self, key: &InstanceKey) {
        self.subscribers.retain(|sender| sender.send(key.clone()).is_ok());
    }
}

#[cfg(test)]
mod tests;
