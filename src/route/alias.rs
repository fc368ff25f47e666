//! A model by another name: nodes get the body with the name that their pool has for it.

use std::ops::Range;

use bytes::Bytes;

use super::place::Place;
use super::renamer::Renamer;
use crate::config::Models;
use crate::journey::Failure;

/// The model of a request for which its pool has another name.
#[derive(Debug)]
pub struct Alias {
    /// The client's name.
    asked: String,
    /// The place of the present name in the body.
    place: Range<usize>,
    is_json: bool,
}

impl Alias {
    /// For a request that names an alias of the pool. An error: it cannot be replaced where it stands.
    pub fn of(models: &Models, place: &Place, body: &[u8]) -> Result<Option<Self>, Failure> {
        let Some(asked) = place.model(body).filter(|asked| models.aliases.contains_key(asked)) else {
            return Ok(None);
        };
        if place.is_packed() {
            let message = "an alias cannot be replaced in a packed body (Content-Encoding); send it unpacked, or name the model itself";
            return Err(Failure::new(415, message));
        }
        let Some(found) = place.in_unpacked(body) else { return Err(in_target()) };
        Ok(Some(Self { asked, place: found, is_json: !place.is_form() }))
    }

    /// The name by which the client asked.
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// The body with the name that a pool with these models has.
    pub fn replaced(&mut self, body: &Bytes, models: &Models) -> Bytes {
        let model = models.aliases.get(&self.asked).unwrap_or(&self.asked);
        let name =
            if self.is_json { serde_json::Value::from(model.as_str()).to_string() } else { model.clone() };
        let old = &body[self.place.clone()];
        if old == name.as_bytes() {
            return body.clone();
        }
        let replaced = [&body[..self.place.start], name.as_bytes(), &body[self.place.end..]].concat();
        self.place.end = self.place.start + name.len();
        replaced.into()
    }

    /// For the answers.
    pub fn renamer(&self) -> Renamer {
        Renamer::new(&self.asked)
    }
}

/// An error for a request whose body is not read, if its target names an alias.
pub fn refuse_in_target(models: &Models, place: &Place) -> Result<(), Failure> {
    let is_alias = place.named().is_some_and(|model| models.aliases.contains_key(model));
    if is_alias { Err(in_target()) } else { Ok(()) }
}

fn in_target() -> Failure {
    Failure::new(400, "an alias can be replaced in the body alone; name the model itself in the target")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> Models {
        let pool = "{ nodes: [n:1], aliases: { gpt: 'Qwen/\"8B\"', b: c } }";
        let text = format!("server: {{ listen: 127.0.0.1:1 }}\npools: {{ a: {pool} }}");
        crate::config::Config::parse(&text, "t").expect("a config").pools.remove(0).models
    }

    fn replaced(place: &Place, body: &str) -> Result<Option<String>, u16> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let alias = Alias::of(&models(), place, &body).map_err(|failure| failure.status)?;
        Ok(alias.map(|mut alias| {
            let there = alias.replaced(&body, &models());
            assert_eq!(alias.replaced(&there, &Models::default()), body, "and back");
            String::from_utf8(there.to_vec()).expect("text")
        }))
    }

    #[test]
    fn one_value_is_replaced() {
        let json = Place::of("/v1/chat/completions", None, Some("application/json"), None);
        for (body, want) in [
            (
                r#"{ "a":NaN, "model" : "gpt" ,"x":{"model":"gpt"}}"#,
                Some(r#"{ "a":NaN, "model" : "Qwen/\"8B\"" ,"x":{"model":"gpt"}}"#),
            ),
            (r#"{"model":"x","model":"gpt"}"#, Some(r#"{"model":"x","model":"Qwen/\"8B\""}"#)),
            (r#"{"model":"b"}"#, Some(r#"{"model":"c"}"#)),
            (r#"{"model":"other"}"#, None),
            (r#"{"model":1}"#, None),
            ("", None),
        ] {
            assert_eq!(replaced(&json, body), Ok(want.map(str::to_owned)), "{body}");
        }
        let form = Place::of("/v1/audio/speech", None, Some("multipart/form-data; boundary=b"), None);
        let part = |model: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n")
        };
        assert_eq!(replaced(&form, &part("gpt")), Ok(Some(part("Qwen/\"8B\""))));
    }

    #[test]
    fn one_that_cannot_be_replaced_is_refused() {
        let packed = Place::of("/v1/chat/completions", None, None, Some("gzip"));
        let pack = |body: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, body.as_bytes()).expect("memory");
            encoder.finish().expect("memory")
        };
        let status =
            |body: &str| Alias::of(&models(), &packed, &pack(body)).map_err(|failure| failure.status);
        assert_eq!(status(r#"{"model":"b"}"#).err(), Some(415));
        assert!(matches!(status(r#"{"model":"other"}"#), Ok(None)));
        let target = Place::of("/v1/realtime", Some("model=gpt"), None, None);
        assert_eq!(replaced(&target, ""), Err(400));
        assert_eq!(refuse_in_target(&models(), &target).map_err(|failure| failure.status), Err(400));
        assert!(refuse_in_target(&Models::default(), &target).is_ok());
    }
}
