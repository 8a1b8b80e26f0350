//! The only home of libp2p and mdns-sd.
