//! What Linux says of this machine and its processes: processor time, memory, load.
//!
//! Must not know which process it is. The kernel counts user and system time together to the nanosecond, but reports
//! hundredths of a second, so a measurement should span a second of processor time.

use std::time::Duration;

/// `USER_HZ`: the unit of `/proc/PID/stat`, which is the same on every Linux that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time, user and system, that the process used since it began, ended threads included.
///
/// # Errors
/// A sentence; the process may have ended.
pub fn cpu_used(pid: u32) -> Result<Duration, String> {
    let ticks = |stat: &str| Some(stat_field(stat, 14)? + stat_field(stat, 15)?);
    let ticks = from_proc(&format!("{pid}/stat"), ticks)?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// The process that started this one; `None` if there is no such process.
pub fn parent_of(pid: u32) -> Option<u32> {
    from_proc(&format!("{pid}/stat"), |stat| u32::try_from(stat_field(stat, 4)?).ok()).ok()
}

/// The most memory that the process ever held, in KiB.
///
/// # Errors
/// As [`cpu_used`].
pub fn peak_memory_kib(pid: u32) -> Result<u64, String> {
    from_proc(&format!("{pid}/status"), |status| status_kib(status, "VmHWM:"))
}

/// The memory that the process holds now, in KiB.
///
/// # Errors
/// As [`cpu_used`].
pub fn memory_kib(pid: u32) -> Result<u64, String> {
    from_proc(&format!("{pid}/status"), |status| status_kib(status, "VmRSS:"))
}

/// The load average of the last minute: other work of this machine affects every figure.
///
/// # Errors
/// A sentence, where the system does not report it.
pub fn load_average() -> Result<f64, String> {
    from_proc("loadavg", |text| text.split(' ').next()?.parse().ok())
}

fn from_proc<T>(file: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    let path = format!("/proc/{file}");
    let text =
        std::fs::read_to_string(&path).map_err(|why| format!("can't read {path}: {why}; did the process end?"))?;
    read(&text).ok_or_else(|| format!("{path} is not what proc(5) says: {text:?}"))
}

/// A field of `stat`, counted from 1; the second is a name in parentheses that may itself contain blanks and
/// parentheses.
fn stat_field(stat: &str, field: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(field - 3)?.parse().ok()
}

fn status_kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 41 7 7 0 -1 4194304 100 0 0 0 250 31 9 9 20 0 4 0 12345 0 0";
        assert_eq!([4, 14, 15].map(|field| stat_field(stat, field)), [Some(41), Some(250), Some(31)]);
        assert_eq!(stat_field("7 (a) S 1", 14), None);
        assert_eq!(status_kib("Name:\tx\nVmHWM:\t    2048 kB\n", "VmHWM:"), Some(2048));
    }

    #[test]
    fn this_process_has_figures_and_a_missing_one_has_none() {
        let own = std::process::id();
        assert!(cpu_used(own).is_ok() && parent_of(own).is_some() && load_average().is_ok());
        assert!(memory_kib(own).is_ok_and(|now| peak_memory_kib(own).is_ok_and(|peak| now > 0 && now <= peak)));
        assert!(cpu_used(u32::MAX).is_err_and(|why| why.contains("did the process end?")));
    }
}
