//! Children: started, watched, restarted, stopped, and never left behind.
//!
//! A child is told to stop by closing its standard input. The system does that too when this process dies in any
//! way, even by `kill -9`, so that no orphan goes on writing into the data folder. Children run in process groups
//! of their own: Ctrl-C in a terminal reaches the parent only, which then stops them in the right order.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A log file larger than this is renamed to `.old` when its child starts.
const MAX_LOG_BYTES: u64 = 8 << 20;
/// Wait before the first restart; doubles with each crash in a row.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait before a restart.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A child that lived so long starts again with the first wait.
const STEADY: Duration = Duration::from_secs(60);
/// Exit code of a program whose configuration is wrong (sysexits EX_USAGE): a restart would not help.
pub const EXIT_CONFIG: i32 = 64;

/// What to start.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name, for messages and its log file.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where its standard error goes.
    pub log: PathBuf,
}

/// A job with its process, if it has one now.
#[derive(Debug)]
pub struct Worker {
    /// What it runs.
    pub job: Job,
    child: Option<Child>,
    started: Option<Instant>,
    crashes: u32,
    restart_at: Option<Instant>,
}

/// What became of a worker since it was last looked at.
#[derive(Debug)]
pub enum Event {
    /// It ended by itself and will be started again.
    Crashed {
        /// How it ended.
        status: ExitStatus,
        /// When it is started again.
        again_in: Duration,
    },
    /// It ended because its configuration is wrong: it stays down.
    Misconfigured,
    /// It was started again.
    Restarted,
    /// It could not be started.
    Failed(io::Error),
}

impl Worker {
    /// A worker that has not started yet.
    pub fn new(job: Job) -> Self {
        Self { job, child: None, started: None, crashes: 0, restart_at: None }
    }

    /// Starts the process.
    ///
    /// # Errors
    /// When the program cannot be run or its log not be written.
    pub fn start(&mut self, now: Instant) -> io::Result<()> {
        let log = open_log(&self.job.log)?;
        let child = Command::new(&self.job.program)
            .args(&self.job.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .spawn()?;
        self.child = Some(child);
        self.started = Some(now);
        self.restart_at = None;
        Ok(())
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Looks after it: notices its end and starts it again when the time has come.
    pub fn tend(&mut self, now: Instant) -> Option<Event> {
        if let Some(at) = self.restart_at {
            if now < at {
                return None;
            }
            return Some(match self.start(now) {
                Ok(()) => Event::Restarted,
                Err(error) => {
                    self.restart_at = Some(now + LONGEST_WAIT);
                    Event::Failed(error)
                }
            });
        }
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        if status.code() == Some(EXIT_CONFIG) {
            return Some(Event::Misconfigured);
        }
        let lived = self.started.map_or(Duration::ZERO, |started| now.saturating_duration_since(started));
        self.crashes = if lived > STEADY { 0 } else { self.crashes + 1 };
        let again_in = wait_after(self.crashes);
        self.restart_at = Some(now + again_in);
        Some(Event::Crashed { status, again_in })
    }

    /// Ends it at once, as a crash would: `SIGKILL`. It stays down until it is started again.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either fails only when it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.restart_at = None;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How long to wait after so many crashes in a row.
fn wait_after(crashes: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << crashes.saturating_sub(1).min(10)).min(LONGEST_WAIT)
}

/// Asks all to stop and waits for them at most `patience`; gives the names of those that had to be killed.
pub fn stop(workers: &mut [Worker], patience: Duration) -> Vec<String> {
    for worker in workers.iter_mut() {
        worker.restart_at = None;
        if let Some(child) = &mut worker.child {
            // Closes it: that is the request to stop.
            drop(child.stdin.take());
        }
    }
    let pause = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    while waited < patience && workers.iter_mut().any(Worker::is_running) {
        thread::sleep(pause);
        waited += pause;
    }
    let stubborn = |worker: &mut Worker| {
        worker.is_running().then(|| {
            worker.kill();
            worker.job.name.clone()
        })
    };
    workers.iter_mut().filter_map(stubborn).collect()
}

impl Worker {
    fn is_running(&mut self) -> bool {
        let runs = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !runs {
            self.child = None;
        }
        runs
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        fs::rename(path, path.with_extension("old"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests drive
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Worker {
        Worker::new(Job {
            name: "test".into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            log: folder.join("test.log"),
        })
    }

    fn until_event(worker: &mut Worker) -> Event {
        for _ in 0..500 {
            if let Some(event) = worker.tend(Instant::now()) {
                return event;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nothing happened in five seconds");
    }

    #[test]
    fn closing_its_input_stops_a_child() {
        let folder = tempfile::tempdir().unwrap();
        let mut workers = [shell(folder.path(), "cat >/dev/null; echo stopped")];
        workers[0].start(Instant::now()).unwrap();
        assert_eq!(stop(&mut workers, Duration::from_secs(5)), Vec::<String>::new());
        assert_eq!(fs::read_to_string(folder.path().join("test.log")).unwrap(), "stopped\n");
    }

    #[test]
    fn a_child_that_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut workers = [shell(folder.path(), "exec sleep 60")];
        workers[0].start(Instant::now()).unwrap();
        let pid = workers[0].pid().unwrap();
        assert_eq!(stop(&mut workers, Duration::from_millis(100)), ["test"]);
        assert_eq!(crate::process::rss_bytes(pid), None);
    }

    #[test]
    fn a_crash_is_followed_by_a_restart_and_a_wrong_configuration_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = shell(folder.path(), "exit 3");
        worker.start(Instant::now()).unwrap();
        assert!(matches!(until_event(&mut worker), Event::Crashed { .. }));
        assert!(matches!(until_event(&mut worker), Event::Restarted));
        let mut worker = shell(folder.path(), "exit 64");
        worker.start(Instant::now()).unwrap();
        assert!(matches!(until_event(&mut worker), Event::Misconfigured));
        assert!(worker.tend(Instant::now() + LONGEST_WAIT).is_none());
    }

    #[test]
    fn waits_grow_to_a_bound() {
        assert_eq!(wait_after(1), FIRST_WAIT);
        assert_eq!(wait_after(3), FIRST_WAIT * 4);
        assert_eq!(wait_after(u32::MAX), LONGEST_WAIT);
    }
}
