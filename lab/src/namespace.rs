//! Network namespaces by the program `ip`: made, entered, and gone with their handle.
//!
//! A name says which process made it, so that what a killed process left can be told from what is in use.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_tap::{Iface, Mode};

/// The front of all our names; the number of the process that made it follows.
pub(crate) const FRONT: &str = "hublab-";
/// Where `ip` keeps them.
const DIR: &str = "/run/netns";

/// One namespace; deleted when dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    wires: std::sync::Mutex<BTreeSet<String>>,
}

impl Namespace {
    /// Makes it, with loopback up.
    ///
    /// # Errors
    /// `ip` says no.
    pub(crate) fn make(name: &str) -> io::Result<Namespace> {
        ip(&["netns", "add", name])?;
        let made = Namespace { name: name.to_owned(), wires: std::sync::Mutex::default() };
        made.ip("link set lo up")?;
        Ok(made)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, words: &str) -> io::Result<()> {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend(words.split_whitespace());
        ip(&all)
    }

    /// Runs `work` in a thread that has moved inside.
    pub(crate) fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let space = File::open(Path::new(DIR).join(&self.name))?;
        let inside = thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).map(|()| work()).map_err(io::Error::from)
        });
        inside.join().map_err(|_| io::Error::other("what was to run on the host panicked"))?
    }

    /// A new interface inside, of which we hold the other end.
    pub(crate) fn wire(&self, interface: &str) -> io::Result<Iface> {
        let name = interface.to_owned();
        let iface = self.within(move || Iface::without_packet_info(&name, Mode::Tap))??;
        self.wires.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(interface.to_owned());
        Ok(iface)
    }

    /// Deletes its interfaces; whoever reads the other ends hears that they are gone.
    pub(crate) fn cut_wires(&self) {
        for wire in std::mem::take(&mut *self.wires.lock().unwrap_or_else(std::sync::PoisonError::into_inner)) {
            let _ = self.ip(&format!("link delete {wire}"));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Ends what still runs inside, and deletes it.
fn remove(name: &str) {
    if let Ok(said) = Command::new("ip").args(["netns", "pids", name]).stderr(Stdio::null()).output() {
        let pids = String::from_utf8_lossy(&said.stdout);
        for pid in pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = ip(&["netns", "delete", name]);
}

/// Removes the namespaces of processes that are no more.
pub(crate) fn sweep() {
    let left = fs::read_dir(DIR).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in left {
        let maker = name.strip_prefix(FRONT).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if maker.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}

fn ip(words: &[&str]) -> io::Result<()> {
    let said = Command::new("ip").args(words).stdin(Stdio::null()).output()?;
    if said.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&said.stderr).trim())))
}
