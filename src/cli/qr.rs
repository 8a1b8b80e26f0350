//! A text as a QR code in half blocks, for the camera of a device that cannot copy from this terminal.

use anyhow::Context as _;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The drawing, dark on light whatever the terminal's colours are.
///
/// # Errors
/// The text is too long for any QR code.
pub(crate) fn drawn(text: &str) -> anyhow::Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).context("the ticket is too long for a QR code")?;
    // Most terminals are light on dark: what is light in the code is drawn.
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_fits_a_terminal_of_eighty_columns() {
        let ticket = "HUBLESS1-".to_owned() + &"0".repeat(230);
        let drawn = drawn(&ticket).expect("it fits");
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
        assert!(drawn.lines().count() <= 40);
    }
}
