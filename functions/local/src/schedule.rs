//! Functions that run by the clock, at the template's rate, from the gateway's start to its end.

use gateway_lambda::Host;
use tokio::task::JoinSet;

use crate::{
    functions::{Functions, Scheduled},
    template::Schedule,
};

/// The functions that run by the clock. They end with this, in the middle of a run if need be: whatever they do may be
/// cut off anywhere and done again.
#[derive(Debug)]
pub struct Schedules(JoinSet<()>);

impl Schedules {
    /// Starts them; each runs for the first time when its interval has passed once.
    ///
    /// # Errors
    /// A schedule of a function that this binary does not have.
    pub fn start(schedules: &[Schedule], functions: &Functions, host: &Host) -> Result<Self, String> {
        let mut tasks = JoinSet::new();
        for schedule in schedules {
            let (name, every) = (&schedule.function, schedule.every);
            let function = Scheduled::named(name)
                .ok_or_else(|| format!("this version of modelswitch has no scheduled function `{name}`"))?;
            let (functions, host) = (functions.clone(), host.clone());
            tasks.spawn(async move {
                loop {
                    tokio::time::sleep(every).await;
                    functions.run_scheduled(&host, function).await;
                }
            });
        }
        Ok(Self(tasks))
    }

    /// Ends them, and returns when they have ended.
    pub async fn stop(mut self) {
        self.0.shutdown().await;
    }
}
