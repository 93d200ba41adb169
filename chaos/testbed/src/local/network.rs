//! Network namespaces for replicas and engines: one each, on one bridge with the gateway.
//!
//! Must not know plans. Needs root, `ip` and `nft`, and `tc` with netem for delays. All names contain the testbed's
//! process id. Everything is removed with the testbed; what a killed testbed left behind, the next one removes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use super::TestbedError;
use super::run_folder::lives;

/// Prefix of the process id in the names of namespaces.
const PREFIX: &str = "murmuration";
/// Prefix of the process id in the names of links, which are at most 15 bytes long.
const LINK_PREFIX: &str = "mu";

/// What networks need: a command that tries it in the namespace `$space`, what its failure means, and the cure.
const NEEDS: [Need; 6] = [
    ("test \"$(id -u)\" = 0", "it needs root", "run it as root"),
    ("command -v ip", "the program ip is missing", "apt-get install iproute2"),
    ("command -v nft", "the program nft is missing", "apt-get install nftables"),
    ("ip netns add $space", "network namespaces are not allowed here", "run it where CAP_SYS_ADMIN is given"),
    (
        "ip -n $space link add br0 type bridge; ip -n $space link add v0 type veth peer name v1",
        "this kernel has no bridges or no pairs of links",
        "modprobe bridge veth",
    ),
    ("ip netns exec $space nft add table ip probe", "this kernel has no nf_tables", "modprobe nf_tables"),
];

/// What delayed packets need in addition.
const NEEDS_FOR_DELAYS: [Need; 3] = [
    ("command -v tc", "the program tc is missing", "apt-get install iproute2"),
    ("ip netns add $space", "network namespaces are not allowed here", "run it where CAP_SYS_ADMIN is given"),
    ("ip netns exec $space tc qdisc add dev lo root netem delay 1ms", "this kernel has no netem", "modprobe sch_netem"),
];

type Need = (&'static str, &'static str, &'static str);

/// What this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing, with the output of the command that tried it.
    pub why: String,
    /// What would provide it.
    pub cure: &'static str,
}

/// The networks of one testbed.
#[derive(Debug)]
pub struct Network {
    pid: u32,
    hosts: BTreeSet<String>,
}

// === impl Network ===

impl Network {
    /// What this machine lacks for networks; `None` if nothing.
    pub fn missing() -> Option<Missing> {
        probe("net", &NEEDS)
    }

    /// What this machine lacks to delay packets, if it can provide networks; `None` if nothing.
    pub fn missing_for_delays() -> Option<Missing> {
        probe("netem", &NEEDS_FOR_DELAYS)
    }

    /// Creates a bridge with the gateway's address. Removes what testbeds that are gone left behind.
    ///
    /// # Errors
    /// [`TestbedError::Network`].
    pub(super) fn make() -> Result<Self, TestbedError> {
        clear();
        let network = Self { pid: std::process::id(), hosts: BTreeSet::new() };
        let (bridge, gateway) = (network.bridge(), network.address(1));
        network.shell(&format!(
            "ip link add {bridge} type bridge; ip addr add {gateway}/24 dev {bridge}; ip link set {bridge} up"
        ))?;
        Ok(network)
    }

    /// Creates a namespace for the host with this number, 2 to 254; returns its address.
    ///
    /// # Errors
    /// [`TestbedError::Network`].
    pub(super) fn host(&mut self, name: &str, number: u8) -> Result<IpAddr, TestbedError> {
        let (space, bridge, address) = (self.space(name), self.bridge(), self.address(number));
        let link = format!("{LINK_PREFIX}{}h{number}", self.pid);
        self.hosts.insert(name.to_owned());
        self.shell(&format!(
            "ip netns add {space}; ip link add {link} type veth peer name eth0 netns {space}; \
             ip link set {link} master {bridge}; ip link set {link} up; ip -n {space} addr add {address}/24 dev eth0; \
             ip -n {space} link set eth0 up; ip -n {space} link set lo up"
        ))?;
        Ok(address)
    }

    /// The gateway's address.
    pub fn gateway(&self) -> IpAddr {
        self.address(1)
    }

    /// The namespace of a host.
    pub(super) fn space(&self, name: &str) -> String {
        format!("{PREFIX}-{}-{name}", self.pid)
    }

    /// Replaces all nft rules of a host by `rules`, and delays what it sends: `delays` are address, least and spread in
    /// milliseconds.
    ///
    /// # Errors
    /// [`TestbedError::Network`].
    pub(super) fn rule(&self, name: &str, rules: &str, delays: &[(IpAddr, u64, u64)]) -> Result<(), TestbedError> {
        let space = self.space(name);
        let mut script = format!("ip netns exec {space} nft -f - <<'END'\nflush ruleset\n{rules}\nEND\n");
        script.push_str(&format!("ip netns exec {space} tc qdisc del dev eth0 root 2>/dev/null || true\n"));
        if !delays.is_empty() {
            script.push_str(&format!("ip netns exec {space} tc -batch - <<'END'\n{}END\n", delay_commands(delays)));
        }
        self.shell(&script)
    }

    fn bridge(&self) -> String {
        format!("{LINK_PREFIX}{}b", self.pid)
    }

    /// An address in the range reserved for benchmarks (RFC 2544). Its third byte, from the process id, tells
    /// concurrent testbeds apart.
    fn address(&self, number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(198, 18, (self.pid % 256) as u8, number))
    }

    fn shell(&self, script: &str) -> Result<(), TestbedError> {
        run(script).map_err(|why| TestbedError::Network { why })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(self.pid);
    }
}

/// The `tc` commands that delay packets to these addresses.
fn delay_commands(delays: &[(IpAddr, u64, u64)]) -> String {
    let bands = delays.len() + 1;
    let map = ["0"; 16].join(" ");
    let mut text = format!("qdisc add dev eth0 root handle 1: prio bands {} priomap {map}\n", bands.max(2));
    for (index, (to, least, spread)) in delays.iter().enumerate() {
        let (band, middle, half) = (index + 2, least + spread / 2, spread / 2);
        text.push_str(&format!(
            "qdisc add dev eth0 parent 1:{band} handle {band}0: netem delay {middle}ms {half}ms\n\
             filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst {to}/32 flowid 1:{band}\n"
        ));
    }
    text
}

/// Removes what testbeds whose process is gone left behind.
fn clear() {
    let Ok(spaces) = output("ip netns list") else { return };
    let pids = spaces.lines().filter_map(pid_of).collect::<BTreeSet<u32>>();
    let links = output("ip -o link show type bridge").unwrap_or_default();
    let of_bridge = |line: &str| {
        let name = line.split(": ").nth(1)?;
        name.strip_prefix(LINK_PREFIX)?.strip_suffix('b')?.parse().ok()
    };
    let all = pids.into_iter().chain(links.lines().filter_map(of_bridge)).collect::<BTreeSet<u32>>();
    all.into_iter().filter(|pid| !lives(*pid)).for_each(remove);
}

/// The process id in a namespace's name.
fn pid_of(space: &str) -> Option<u32> {
    space.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

fn remove(pid: u32) {
    let script = format!(
        "for space in $(ip netns list | cut -d' ' -f1 | grep '^{PREFIX}-{pid}-'); do ip netns del $space; done; \
         for link in $(ip -o link show | cut -d' ' -f2 | sed 's/[@:].*//' | grep -E '^{LINK_PREFIX}{pid}(b|h[0-9]+)$'); do \
         ip link del $link 2>/dev/null; done; true"
    );
    // What can't be removed now, the next testbed removes.
    let _ = run(&script);
}

/// Tries each need in turn in its own namespace, which is removed afterwards; returns the first that is not met.
fn probe(name: &str, needs: &[Need]) -> Option<Missing> {
    let space = format!("{PREFIX}-{}-{name}", std::process::id());
    let missing = needs.iter().find_map(|(tried, why, cure)| {
        let printed = run(&format!("space={space}; {tried}")).err()?;
        let why = if printed.is_empty() { (*why).to_owned() } else { format!("{why} ({printed})") };
        Some(Missing { why, cure })
    });
    // The namespace does not exist where an earlier need was not met.
    let _ = run(&format!("ip netns del {space} 2>/dev/null"));
    missing
}

fn run(script: &str) -> Result<(), String> {
    output(&format!("set -e; {script}")).map(drop)
}

fn output(script: &str) -> Result<String, String> {
    let shell = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().map_err(|why| why.to_string())?;
    let text = String::from_utf8_lossy(&shell.stdout).into_owned();
    match shell.status.success() {
        true => Ok(text),
        false => Err(format!("{}{}", text, String::from_utf8_lossy(&shell.stderr)).trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_need_that_is_not_met_is_returned_with_its_cure() {
        let needs =
            [("true", "a", "b"), ("echo no such thing >&2; false", "it is missing", "get it"), ("false", "c", "d")];
        let missing = Missing { why: "it is missing (no such thing)".to_owned(), cure: "get it" };
        assert_eq!(probe("test", &needs), Some(missing));
        assert_eq!(probe("test", &needs[..1]), None);
    }

    #[test]
    fn a_namespace_names_its_process() {
        assert_eq!(pid_of("murmuration-4711-replica-0 (id: 3)"), Some(4711));
        assert_eq!(pid_of("other-4711-replica-0"), None);
        assert_eq!(pid_of("murmuration-x"), None);
    }

    #[test]
    fn each_delayed_address_has_its_own_band() {
        let to = |last| IpAddr::V4(Ipv4Addr::new(198, 18, 0, last));
        let text = delay_commands(&[(to(2), 5, 20), (to(3), 1, 0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("prio bands 3"), "{text}");
        assert_eq!(lines[1], "qdisc add dev eth0 parent 1:2 handle 20: netem delay 15ms 10ms");
        assert!(lines[4].ends_with("match ip dst 198.18.0.3/32 flowid 1:3"), "{text}");
    }
}
