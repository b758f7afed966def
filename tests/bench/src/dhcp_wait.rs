//! How long a machine waited for the home router's DHCP server, out of the router's log.

use std::time::Duration;

/// dnsmasq logs this (`--log-dhcp`) when a request arrives, …
const ASKED: &str = "available DHCP range";
/// … and one of these when it answers. Between the two it pings an address that it is about to offer for the first
/// time, for 3 s.
const ANSWERED: [&str; 2] = ["DHCPOFFER", "DHCPACK"];

/// Adds up the waits while the log grows.
#[derive(Debug, Default)]
pub(crate) struct DhcpWait {
    read: usize,
    asked: Option<Duration>,
    waited: Duration,
}

impl DhcpWait {
    /// Looks at the log as it is `now`; lines that came since the last look count as having come now.
    pub(crate) fn look(&mut self, log: &str, now: Duration) {
        let new = log.get(self.read..).unwrap_or_default();
        let Some(end) = new.rfind('\n') else { return };
        let whole = new.get(..=end).unwrap_or_default();
        self.read += whole.len();
        for line in whole.lines() {
            if ANSWERED.iter().any(|answer| line.contains(answer)) {
                self.waited += self.asked.take().map_or(Duration::ZERO, |asked| now.saturating_sub(asked));
            } else if line.contains(ASKED) && self.asked.is_none() {
                self.asked = Some(now);
            }
        }
    }

    /// All waits so far.
    pub(crate) fn total(&self) -> Duration {
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_add_up_and_repeated_questions_count_once() {
        let mut wait = DhcpWait::default();
        let mut log = String::new();
        for (at, lines) in [
            (1, "1 available DHCP range: 10.77.0.50\n"),
            (2, "1 available DHCP range: 10.77.0.50\n"),
            (4, "1 DHCPDISCOVER(eth0)\n1 DHCPOF"),
            (5, "FER(eth0) 10.77.0.70\n1 available DHCP range: 10.77.0.50\n1 DHCPREQUEST\n1 DHCPACK\n"),
        ] {
            log.push_str(lines);
            wait.look(&log, Duration::from_secs(at));
        }
        assert_eq!(wait.total(), Duration::from_secs(4));
    }
}
