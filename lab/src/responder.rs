//! Another responder of multicast DNS on a host, as avahi is one: it holds port 5353 (shared, as all of them hold it), hears what is asked there, and answers
//! with a printer of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use super::Host;

/// Where multicast DNS is spoken.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// Its port.
const PORT: u16 = 5353;
/// The labels of the service that it announces, and of the one instance there is.
const SERVICE: [&str; 3] = ["_ipp", "_tcp", "local"];
const INSTANCE: &str = "lab-printer";

/// One that runs; it ends when dropped.
#[derive(Debug)]
pub struct Responder {
    heard: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Starts one on a host.
    ///
    /// # Errors
    /// The host cannot be entered, or its port is held by one that does not share it.
    pub fn start(host: &Host) -> io::Result<Responder> {
        let ip = host.ip();
        let socket = host.within(move || open(ip))??;
        let (heard, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counts, ends) = (Arc::clone(&heard), Arc::clone(&over));
        let thread = thread::spawn(move || respond(&socket, &counts, &ends));
        Ok(Responder { heard, over, thread: Some(thread) })
    }

    /// How many questions of others it heard.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(ip: Ipv4Addr) -> io::Result<UdpSocket> {
    let shared = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    sockopt::set_socket_reuseaddr(&shared, true)?;
    sockopt::set_socket_reuseport(&shared, true)?;
    bind(&shared, &SocketAddr::from(([0, 0, 0, 0], PORT)))?;
    let socket = UdpSocket::from(shared);
    socket.join_multicast_v4(&GROUP, &ip)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

fn respond(socket: &UdpSocket, heard: &AtomicU64, over: &AtomicBool) {
    let (mut packet, answer) = ([0; 9_000], answer());
    while !over.load(Ordering::Relaxed) {
        let Ok((length, _)) = socket.recv_from(&mut packet) else { continue };
        // The first bit of the flags tells an answer from a question.
        if length > 12 && packet[2] & 0x80 == 0 {
            heard.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&answer, (GROUP, PORT));
        }
    }
}

/// An answer that nobody asked for in particular: the service has an instance (RFC 6762 section 6).
fn answer() -> Vec<u8> {
    let label = |text: &str| [&[u8::try_from(text.len()).unwrap_or(63)], text.as_bytes()].concat();
    let service: Vec<u8> = SERVICE.iter().flat_map(|text| label(text)).chain([0]).collect();
    let instance: Vec<u8> = label(INSTANCE).into_iter().chain(service.clone()).collect();
    let length = u16::try_from(instance.len()).unwrap_or(0).to_be_bytes();
    // An answer, with authority; one record: PTR, IN, two minutes.
    let head = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    [&head[..], &service, &[0, 12, 0, 1, 0, 0, 0, 120], &length, &instance].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_one_instance() {
        let answer = answer();
        assert_eq!(answer[..8], [0, 0, 0x84, 0, 0, 0, 0, 1]);
        let service = b"\x04_ipp\x04_tcp\x05local\0";
        assert_eq!(&answer[12..12 + service.len()], service);
        assert!(answer.ends_with(&[&b"\x0blab-printer"[..], service].concat()));
        let at = 12 + service.len() + 8;
        assert_eq!(usize::from(answer[at]) * 256 + usize::from(answer[at + 1]), answer.len() - at - 2);
    }
}
