//! Frames on a stream: a length of four bytes, little endian, and so many bytes. Whole and in order, or an error.

use std::io;

use futures::io::{AsyncRead, AsyncReadExt};

/// Why no more frames come from a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The other end stopped in the middle of one.
    #[error("it ended in the middle of a frame")]
    Cut,
    /// One is longer than any may be.
    #[error("garbled: a frame of {0} bytes")]
    TooLong(u32),
    /// The transport failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

/// The next frame, or `None` when the other end closed after a whole one.
pub(crate) async fn read<R: AsyncRead + Unpin>(from: &mut R, max: usize) -> Result<Option<Vec<u8>>, Broken> {
    let mut head = [0; 4];
    let mut got = 0;
    while got < head.len() {
        match from.read(&mut head[got..]).await.map_err(Broken::Io)? {
            0 if got == 0 => return Ok(None),
            0 => return Err(Broken::Cut),
            n => got += n,
        }
    }
    let length = u32::from_le_bytes(head);
    if length as usize > max {
        return Err(Broken::TooLong(length));
    }
    let mut frame = vec![0; length as usize];
    match from.read_exact(&mut frame).await {
        Ok(()) => Ok(Some(frame)),
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => Err(Broken::Cut),
        Err(why) => Err(Broken::Io(why)),
    }
}

/// Appends a frame to what will be written. Callers keep frames far below `u32::MAX` bytes.
pub(crate) fn append(out: &mut Vec<u8>, frame: &[u8]) {
    let length = u32::try_from(frame.len()).expect("frames are bounded far below 4 GiB before they come here");
    out.extend(length.to_le_bytes());
    out.extend(frame);
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use quickcheck::quickcheck;

    fn all(mut bytes: &[u8], max: usize) -> (Vec<Vec<u8>>, Result<(), Broken>) {
        let mut frames = Vec::new();
        loop {
            match block_on(read(&mut bytes, max)) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, Ok(())),
                Err(why) => return (frames, Err(why)),
            }
        }
    }

    quickcheck! {
        fn what_is_written_is_read_and_a_cut_one_is_not(frames: Vec<Vec<u8>>, cut: usize) -> bool {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for frame in &frames {
                append(&mut bytes, frame);
                ends.push(bytes.len());
            }
            let (back, end) = all(&bytes, 1 << 20);
            let cut = cut % (bytes.len() + 1);
            let (some, broken) = all(&bytes[..cut], 1 << 20);
            back == frames && end.is_ok() && frames.starts_with(&some) && broken.is_ok() == ends.contains(&cut)
        }

        fn no_bytes_make_it_panic_or_allocate(bytes: Vec<u8>) -> bool {
            all(&bytes, 1000).0.iter().all(|f| f.len() <= 1000)
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_allocated() {
        let (frames, end) = all(&[0xff; 8], 1000);
        assert!(frames.is_empty() && matches!(end, Err(Broken::TooLong(u32::MAX))));
    }
}
