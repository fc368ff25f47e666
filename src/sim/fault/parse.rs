//! Parsing faults: from JSON (`{"kind": "die", "after": 10, "times": 3}`), or on command lines and in
//! headers from the short form `kind[:number][,key=value]...` (`die:10,times=3`, `status:503,retry_after=2`).

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{Fault, FaultKind};

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') {
            let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
            return Fault::from_json(value);
        }
        Fault::from_json(short_form(text)?)
    }
}

impl Fault {
    /// Parses one fault from JSON. Unknown keys are errors: a misspelt `times` would make the fault permanent.
    pub fn from_json(value: Value) -> Result<Self, String> {
        let fault: Fault = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        // serde cannot deny unknown fields next to `flatten`, so the keys that it dropped are searched here.
        let known = serde_json::to_value(&fault).map_err(|error| error.to_string())?;
        if let (Value::Object(given), Value::Object(known)) = (&value, &known)
            && let Some(key) = given.keys().find(|key| !known.contains_key(*key))
        {
            return Err(format!("unknown key {key:?}"));
        }
        fault.checked()
    }

    /// Parses one fault, or a list of faults to be tried in order.
    pub fn list_from_json(value: Value) -> Result<Vec<Self>, String> {
        match value {
            Value::Array(faults) => faults.into_iter().map(Fault::from_json).collect(),
            fault => Ok(vec![Fault::from_json(fault)?]),
        }
    }

    fn checked(self) -> Result<Self, String> {
        if let FaultKind::Status { code, .. } | FaultKind::ErrorEvent { code, .. } = self.kind
            && !(200..=599).contains(&code)
        {
            return Err(format!("code: {code} is not a final status; use 200 to 599"));
        }
        if self.every == 0 {
            return Err("every: must be 1 or more".to_owned());
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(format!("probability: {} is not between 0 and 1", self.probability));
        }
        Ok(self)
    }
}

fn short_form(text: &str) -> Result<Value, String> {
    let mut map = Map::new();
    let mut parts = text.split(',').map(str::trim);
    let head = parts.next().unwrap_or_default();
    let (kind, number) = head.split_once(':').map_or((head, None), |(kind, number)| (kind, Some(number)));
    if let Some(number) = number {
        let key = match kind {
            "status" => "code",
            "slow_head" | "queue_timeout" => "delay_ms",
            "cut" => "events",
            _ => "after",
        };
        map.insert(key.to_owned(), scalar(number));
    }
    map.insert("kind".to_owned(), Value::from(kind));
    for part in parts {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not key=value"))?;
        map.insert(key.to_owned(), scalar(value));
    }
    Ok(Value::Object(map))
}

fn scalar(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::super::Shape;
    use super::*;

    fn fault(text: &str) -> Result<Fault, String> {
        text.parse()
    }

    #[test]
    fn the_short_form_and_json_are_equivalent() {
        let status = FaultKind::Status { code: 503, retry_after: Some(2), shape: Shape::Vllm };
        let wanted = Fault::from(status).times(3);
        assert_eq!(fault("status:503,retry_after=2,shape=vllm,times=3").as_ref(), Ok(&wanted));
        let json = r#"{"kind":"status","code":503,"retry_after":2,"shape":"vllm","times":3}"#;
        assert_eq!(fault(json).as_ref(), Ok(&wanted));
        assert_eq!(fault("hang"), Ok(FaultKind::Hang.into()));
        assert_eq!(fault("die:10,every=2"), Ok(Fault::from(FaultKind::Die { after: 10 }).every(2)));
        assert_eq!(fault("slow_head:50"), Ok(FaultKind::SlowHead { delay_ms: 50 }.into()));
        assert_eq!(fault("queue_timeout:5"), Ok(FaultKind::QueueTimeout { delay_ms: 5 }.into()));
        assert_eq!(fault("crash"), Ok(FaultKind::Crash { after: None }.into()));
        assert_eq!(fault("cut:2,within=true"), Ok(FaultKind::Cut { events: 2, within: true }.into()));
        let error = FaultKind::ErrorEvent { after: 1, code: 500 };
        assert_eq!(fault("error_event:1"), Ok(error.into()));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(fault("explode").unwrap_err().contains("explode"));
        assert!(fault("hang,tmies=3").unwrap_err().contains("tmies"));
        assert!(fault("hang:3").unwrap_err().contains("after"));
        assert!(fault("status:100").unwrap_err().contains("100"));
        assert!(fault("hang,every=0").is_err());
        assert!(fault("hang,probability=2").is_err());
        assert!(fault(r#"{"kind":"status"}"#).unwrap_err().contains("code"));
    }
}
