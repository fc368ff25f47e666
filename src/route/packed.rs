//! Bodies that came packed: their beginning, unpacked to be searched. The body itself is passed on as it came.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};

/// Most bytes that are unpacked.
const UNPACKED_MAX: u64 = 1024 * 1024;
/// Largest window of zstd, as a power of two: 8 MiB, beyond which RFC 9659 lets no sender of HTTP go.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Bytes that brotli reads at a time.
const BROTLI_BUFFER: usize = 4096;

/// The content coding of a body (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Packing {
    /// None, or one that is not known here.
    #[default]
    None,
    Gzip,
    /// `deflate`, which is zlib's format.
    Zlib,
    Zstd,
    Brotli,
}

impl Packing {
    /// `coding`: the value of `Content-Encoding`.
    pub(super) fn of(coding: &str) -> Self {
        let names = [
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("deflate", Self::Zlib),
            ("zstd", Self::Zstd),
            ("br", Self::Brotli),
        ];
        let is = |name: &str| coding.trim().eq_ignore_ascii_case(name);
        names.into_iter().find(|(name, _)| is(name)).map_or(Self::None, |(_, packing)| packing)
    }

    /// The beginning of the body. What is broken or too long is unpacked as far as it goes.
    pub(super) fn beginning(self, body: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::None => body.into(),
            Self::Gzip => unpacked(GzDecoder::new(body)),
            Self::Zlib => unpacked(ZlibDecoder::new(body)),
            Self::Zstd => zstd_decoder(body).map(unpacked).unwrap_or_default(),
            Self::Brotli => unpacked(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER)),
        }
    }
}

fn zstd_decoder(body: &[u8]) -> std::io::Result<impl Read> {
    let mut decoder = zstd::Decoder::with_buffer(body)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn unpacked<'a>(packed: impl Read) -> Cow<'a, [u8]> {
    let mut unpacked = Vec::new();
    let _ = packed.take(UNPACKED_MAX).read_to_end(&mut unpacked);
    unpacked.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const CODINGS: [&str; 5] = ["gzip", "X-Gzip", " deflate", "zstd ", "BR"];

    /// `None` where nothing here can pack it so.
    fn pack(coding: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        match Packing::of(coding) {
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).and_then(|()| encoder.finish()).ok()
            }
            Packing::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).and_then(|()| encoder.finish()).ok()
            }
            Packing::Zstd => zstd::encode_all(bytes, 1).ok(),
            Packing::None | Packing::Brotli => None,
        }
    }

    #[test]
    fn each_coding_is_unpacked_up_to_its_limit() {
        let text = [b"{\"model\":\"m\",\"prompt\":\"".as_slice(), &[b'x'; 2 * 1024 * 1024]].concat();
        for coding in CODINGS {
            let Some(packed) = pack(coding, &text) else { continue };
            let beginning = Packing::of(coding).beginning(&packed);
            assert_eq!(&*beginning, &text[..1024 * 1024], "{coding}");
            let half = &packed[..packed.len() / 2];
            assert!(text.starts_with(&Packing::of(coding).beginning(half)), "{coding}: cut off");
        }
    }

    /// Made by the reference implementation.
    #[test]
    fn brotli_is_unpacked() {
        let packed = b"\x0b\x06\x80\x7b\x22\x6d\x6f\x64\x65\x6c\x22\x3a\x22\x6d\x22\x7d\x03";
        assert_eq!(&*Packing::of("br").beginning(packed), br#"{"model":"m"}"#);
        // {"model":"m","prompt":"xxx..."}, of 2 MiB
        let packed =
            b"\x9b\x18\x00\x20\xf8\x1d\x09\x76\xec\x84\x1b\xc7\xe0\x4e\x2d\x02\x47\xb7\x37\xf0\x52\x87\xa5\
            \x0f\x26\x72\x02\xda\x8a\x6f\xc2\x4f\x07\x86\x70\xa9\x0b\x4c\x1e\xf9\xe5\xde\x7f\x34\xd0";
        let beginning = Packing::Brotli.beginning(packed);
        assert!(beginning.starts_with(b"{\"model\":\"m\",\"prompt\":\"xx") && beginning.len() == 1024 * 1024);
    }

    /// A header of 14 bytes makes the decoder of a careless recipient take 2 GiB.
    #[test]
    fn a_window_larger_than_http_allows_is_not_opened() {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x49, 0x00, 0x00, b'{', b'"', b'm', b'"', b':'];
        assert_eq!(&*Packing::Zstd.beginning(&frame), b"");
        assert!(!Packing::Zstd.beginning(&zstd::encode_all(&b"{}"[..], 19).expect("memory")).is_empty());
    }

    #[test]
    fn other_codings_are_none() {
        for other in ["", "identity", "gzip, zstd", "compress", "aes128gcm"] {
            assert_eq!(Packing::of(other), Packing::None, "{other}");
        }
        assert!(matches!(Packing::None.beginning(b"{}"), Cow::Borrowed(b"{}")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for coding in CODINGS {
                let packing = Packing::of(coding);
                prop_assert!(packing.beginning(&bytes).len() <= 1024 * 1024);
                if let Some(mut packed) = pack(coding, &bytes) {
                    prop_assert_eq!(&*packing.beginning(&packed), &bytes[..]);
                    if let Some(byte) = packed.get_mut(bytes.len() % 17) {
                        *byte ^= 0x55;
                    }
                    packing.beginning(&packed);
                }
            }
        }
    }
}
