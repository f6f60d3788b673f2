//! A program that runs beside this one.

use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

use crate::{Result, sh};

/// Ends with its owner, whatever happens.
pub(crate) struct Process(Child);

impl Process {
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        sh::show(command);
        Ok(Self(command.spawn()?))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// When it is still there after `limit`; it is killed then.
    pub(crate) fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        sh::run(&mut sh::command("kill", &["-TERM", &self.id().to_string()]))?;
        let start = sh::now();
        while start.elapsed() < limit {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("process {} did not end within {} s of SIGTERM", self.id(), limit.as_secs()).into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
