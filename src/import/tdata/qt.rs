//! Values as Qt's `QDataStream` writes them: big endian, and arrays with their length in front.

use crate::import::ImportError;

/// What stands where there is no array.
const NO_ARRAY: u32 = u32::MAX;

/// A cursor over values that only moves forward.
pub(super) struct QtCursor<'a>(&'a [u8]);

impl<'a> QtCursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], ImportError> {
        let cut_off = ImportError::Damaged { what: "it ends too early" };
        let (head, tail) = self.0.split_at_checked(len).ok_or(cut_off)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn number(&mut self) -> Result<i32, ImportError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<i64, ImportError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A number that is not negative, nor more than this.
    pub(super) fn count(&mut self, max: u32) -> Result<u32, ImportError> {
        let count = u32::from_be_bytes(self.array()?);
        let wrong = ImportError::Damaged { what: "it counts more than there can be" };
        Some(count).filter(|it| *it <= max).ok_or(wrong)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], ImportError> {
        match u32::from_be_bytes(self.array()?) {
            NO_ARRAY => Ok(&[]),
            len => self.take(usize::try_from(len).unwrap_or(usize::MAX)),
        }
    }
}
