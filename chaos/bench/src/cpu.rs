//! The processor time of another process, as the kernel counts it.
//!
//! Must not know which process it is. The kernel counts user and system time together to the nanosecond, but reports
//! hundredths of a second, so a measurement should span a second of processor time.

use std::time::Duration;

/// `USER_HZ`: the unit of `/proc/PID/stat`, which is the same on every Linux that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time, user and system, that the process used since it began, ended threads included.
pub(super) fn used(pid: u32) -> Result<Duration, String> {
    let path = format!("/proc/{pid}/stat");
    let stat =
        std::fs::read_to_string(&path).map_err(|why| format!("can't read {path}: {why}; did the server end?"))?;
    ticks(&stat)
        .map(|ticks| Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
        .ok_or_else(|| format!("{path} is not what proc(5) says: {stat:?}"))
}

/// Fields 14 and 15; the second field is a name in parentheses that may itself contain blanks and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_ticks_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 31 9 9 20 0 4 0 12345 0 0";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_a_time_and_a_missing_one_has_none() {
        assert!(used(std::process::id()).is_ok());
        assert!(used(u32::MAX).is_err_and(|why| why.contains("did the server end?")));
    }
}
