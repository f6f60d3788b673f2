//! Steps that all run, whatever became of the ones before, and a summary at their end.

use std::time::Duration;

use crate::{Result, sh};

/// The steps so far.
#[derive(Default)]
pub(crate) struct Steps(Vec<Step>);

struct Step {
    name: &'static str,
    took: Duration,
    /// The closing lines, or what went wrong.
    end: std::result::Result<Vec<String>, String>,
}

impl Steps {
    /// Runs one step, which answers the lines that the summary repeats.
    pub(crate) fn step(&mut self, name: &'static str, run: impl FnOnce() -> Result<Vec<String>>) {
        println!("\n== {name}");
        let start = sh::now();
        let end = run().map_err(|error| error.to_string());
        if let Err(error) = &end {
            println!("error: {error}");
        }
        self.0.push(Step { name, took: start.elapsed(), end });
    }

    /// Prints one line for each step, under it what its program said last.
    ///
    /// # Errors
    /// When a step failed.
    pub(crate) fn finish(self) -> Result {
        println!("\n== summary");
        for Step { name, took, end } in &self.0 {
            let verdict = if end.is_ok() { "ok" } else { "FAILED" };
            println!("{verdict:<7}{name:<14}{:>7.1} s", took.as_secs_f64());
            let lines = match end {
                Ok(lines) => lines.iter().map(String::as_str).collect(),
                Err(error) => error.lines().collect::<Vec<_>>(),
            };
            for line in lines {
                println!("         {}", line.trim());
            }
        }
        let total: Duration = self.0.iter().map(|step| step.took).sum();
        println!("{:<21}{:>7.1} s", "in all", total.as_secs_f64());
        let failed: Vec<_> = self.0.iter().filter(|step| step.end.is_err()).map(|step| step.name).collect();
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
    }
}
