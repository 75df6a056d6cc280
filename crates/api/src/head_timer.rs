//! The timer of request heads, kept running from one request of a connection to the next.
//!
//! hyper makes a new sleep for each head and drops it a moment later. Each would enter and leave
//! the runtime's timer wheel, under its lock. All sleeps of one connection share one alarm here:
//! it stays set, and when it rings too early for the sleep of now it is set anew.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

type Alarm = Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>;

/// A timer for one connection, whose sleeps all last equally long.
#[derive(Default)]
pub(crate) struct HeadTimer(Alarm);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let alarm = self.0.clone();
        Box::pin(HeadSleep { deadline, alarm })
    }
}

struct HeadSleep {
    deadline: Instant,
    alarm: Alarm,
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline.into())));
        // An alarm that was set for a sleep before this one rings early, never late.
        while alarm.as_mut().poll(context).is_ready() {
            if alarm.deadline() >= self.deadline.into() {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.deadline.into());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_sleep_lasts_as_long_as_it_was_asked_to() {
        let timer = HeadTimer::default();
        let now = || tokio::time::Instant::now().into_std();
        let minute = Duration::from_secs(60);
        let start = now();
        let mut first = timer.sleep_until(start + minute);
        assert!(futures_util::poll!(&mut first).is_pending());
        drop(first);
        tokio::time::sleep(minute / 2).await;
        timer.sleep_until(now() + minute).await;
        assert_eq!(now() - start, minute * 3 / 2);
        timer.sleep_until(now() + minute).await;
        assert_eq!(now() - start, minute * 5 / 2);
    }
}
