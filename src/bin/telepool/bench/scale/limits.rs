//! Limits of the machine: whether it lets so many connections be open at once.
//!
//! Owns the check of them, before anything is started. Raises none.

use crate::bench::files;
use crate::failure::Failure;

/// Ports of this range are in use by others, or still wait after an earlier run.
const PORTS_BESIDE: u64 = 1_000;
/// Where Linux keeps the ports that connections leave by.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Refuses a number of connections that this machine would not let be opened.
pub(super) fn check(connections: u64) -> Result<(), Failure> {
    // The data centre has the other end of each in a process of its own, under the same limit.
    if let Some((limit, needed)) = files::lacking(connections) {
        return Err(Failure::refused(format!(
            "--connections {connections}: a process may open {limit} files, and {needed} are \
             needed: raise the limit (ulimit -n {needed}, or LimitNOFILE= of a service), or give \
             fewer connections"
        )));
    }
    if let Some(ports) = std::fs::read_to_string(PORT_RANGE).ok().and_then(|text| ports(&text))
        && ports < connections + PORTS_BESIDE
    {
        let needed = connections + PORTS_BESIDE;
        return Err(Failure::refused(format!(
            "--connections {connections}: each leaves by a port of its own, there are {ports}, and \
             {needed} are needed with those that others use: widen the range (sysctl -w \
             net.ipv4.ip_local_port_range=\"1024 65535\"), or give fewer connections"
        )));
    }
    Ok(())
}

/// How many ports a range such as `32768 60999` has.
fn ports(text: &str) -> Option<u64> {
    let mut ends = text.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else { return None };
    Some((last + 1).saturating_sub(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_is_counted_with_both_ends() {
        assert_eq!(ports("32768\t60999\n"), Some(28_232));
        assert_eq!(ports("5 4"), Some(0));
        assert_eq!(ports("many"), None);
    }
}
