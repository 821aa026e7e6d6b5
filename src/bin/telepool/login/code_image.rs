//! The code that is scanned, as it is shown: in the terminal, and as a picture.
//!
//! Owns both forms. The picture is for its user alone, and goes with this.

use std::cell::Cell;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use qrcode::render::unicode::Dense1x2;
use qrcode::{Color, EcLevel, QrCode};

/// How many pixels of a picture a module of the code has, and how many modules its margin.
const SCALE: usize = 8;
const MARGIN: usize = 4;
const BLACK_ON_WHITE: &str = "\u{1b}[30;107m";
const PLAIN: &str = "\u{1b}[0m";

/// The code of a link. `None`: it is too long for one.
fn code(link: &str) -> Option<QrCode> {
    QrCode::with_error_correction_level(link, EcLevel::L).ok()
}

/// The code in characters, two modules high each, and how many columns it takes: black on white, whatever the colours of
/// the terminal are, since cameras do not see it otherwise.
pub(super) fn in_characters(link: &str) -> Option<(String, usize)> {
    let code = code(link)?;
    let mut image = code.render::<Dense1x2>();
    let image = image.dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).build();
    let width = image.lines().next().map_or(0, |line| line.chars().count());
    let lines = image.lines().map(|line| format!("{BLACK_ON_WHITE}{line}{PLAIN}"));
    Some((lines.collect::<Vec<_>>().join("\n"), width))
}

/// A picture of the code in a file.
pub(super) struct CodePicture {
    path: PathBuf,
    /// What stands there is of this.
    is_drawn: Cell<bool>,
}

impl CodePicture {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), is_drawn: Cell::new(false) }
    }

    /// Whether something can be drawn there at all.
    pub(super) fn check(&self) -> io::Result<()> {
        tempfile::NamedTempFile::new_in(self.folder()).map(drop).map_err(|error| {
            // The name that it tells is none that the user knows.
            error.kind().into()
        })
    }

    fn folder(&self) -> &Path {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new("."))
    }

    /// Draws a link, in place of what was drawn before.
    pub(super) fn draw(&self, link: &str) -> io::Result<()> {
        let code = code(link).ok_or_else(|| io::Error::other("the link is too long for a code"))?;
        let modules = code.width();
        let side = (modules + 2 * MARGIN) * SCALE;
        let is_dark = |x: usize, y: usize| {
            let module = |at: usize| (at / SCALE).checked_sub(MARGIN).filter(|at| *at < modules);
            let place = module(x).zip(module(y));
            place.is_some_and(|place| code[place] == Color::Dark)
        };
        let pixels = (0..side * side).map(|at| is_dark(at % side, at / side));
        let pixels: Vec<u8> = pixels.map(|is_dark| if is_dark { 0 } else { 255 }).collect();
        // Whoever looks sees the whole of one.
        let beside = tempfile::NamedTempFile::new_in(self.folder())?;
        let mut file = BufWriter::new(beside);
        let side = u32::try_from(side).map_err(io::Error::other)?;
        let mut encoder = png::Encoder::new(&mut file, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()?;
        file.flush()?;
        let beside = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        beside.persist(&self.path)?;
        self.is_drawn.set(true);
        Ok(())
    }
}

/// What was shown is of no use any more, and nobody's business.
impl Drop for CodePicture {
    fn drop(&mut self) {
        if self.is_drawn.get() {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "tg://login?token=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA";

    #[test]
    fn a_picture_shows_the_code_and_is_its_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code.png");
        let picture = CodePicture::at(&path);
        picture.draw(LINK).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let file = io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let modules = code(LINK).unwrap().width();
        assert_eq!(info.width as usize, (modules + 2 * MARGIN) * SCALE);
        // The margin, and the corner of the first of the three squares.
        let side = info.width as usize;
        let at = |x: usize, y: usize| pixels[y * side + x];
        let first = MARGIN * SCALE;
        assert_eq!((at(0, 0), at(first - 1, first), at(first, first)), (255, 255, 0));
        drop(picture);
        assert!(!path.exists());
    }

    #[test]
    fn in_characters_it_is_as_wide_as_it_is_high() {
        let (shown, width) = in_characters(LINK).unwrap();
        assert_eq!(shown.lines().count(), width.div_ceil(2));
        assert!(
            shown.lines().all(|line| line.starts_with(BLACK_ON_WHITE) && line.ends_with(PLAIN))
        );
        assert!(width < 60, "it fits into a terminal: {width}");
    }
}
