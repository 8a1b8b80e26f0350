//! What a service manager hears of the daemon, and what it is told to start.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::{Lan, SOON, eventually};

/// systemd's own protocol: datagrams to the socket that NOTIFY_SOCKET names.
#[test]
fn a_manager_hears_that_it_is_ready_that_it_lives_and_that_it_stops() {
    let mut home = Lan::new().home("anna");
    let path = home.at("notify.sock");
    let heard = UnixDatagram::bind(&path).expect("bound");
    heard.set_read_timeout(Some(Duration::from_millis(100))).expect("settable");
    home.set("NOTIFY_SOCKET", path.display());
    home.set("WATCHDOG_USEC", 2_000_000);
    let daemon = home.up();
    let next = |word: &str| {
        eventually(SOON, word, || {
            let mut bytes = [0; 512];
            let count = heard.recv(&mut bytes).ok()?;
            String::from_utf8_lossy(&bytes[..count]).lines().any(|line| line == word).then_some(())
        });
    };
    next("READY=1");
    next("WATCHDOG=1");
    next("WATCHDOG=1");
    // A core that does not turn is not said to live: stopped as a whole it says nothing, and goes on where it was.
    daemon.signal(rustix::process::Signal::STOP);
    while heard.recv(&mut [0; 512]).is_ok() {}
    assert!(heard.recv(&mut [0; 512]).is_err());
    daemon.signal(rustix::process::Signal::CONT);
    next("WATCHDOG=1");
    daemon.stop();
    next("STOPPING=1");
}
