//! Lists of `key=value`, by QEMU's rule.
//!
//! Items are separated by commas; in a value `,,` is a comma. An item without `=` is a switch
//! turned on, or off if its name has `no` before it; the first such item is the value of the
//! option's implied key, if it has one.

use std::str::FromStr;

use crate::config::parse_number;
use crate::nearest::nearest;
use crate::system::error::SystemError;

/// One list. What is read from it is known; what is left at the end is not.
#[derive(Debug, Clone)]
pub struct Keyval {
    origin: String,
    pairs: Vec<Pair>,
    /// Keys that were asked for: all that the option knows.
    asked: Vec<String>,
}

#[derive(Debug, Clone)]
struct Pair {
    key: String,
    /// None for an item without `=`.
    value: Option<String>,
    taken: bool,
}

impl Keyval {
    /// Takes `text` apart. `origin` is the option, for errors.
    pub fn parse(origin: &str, text: &str, implied: Option<&str>) -> Result<Self, SystemError> {
        let mut pairs = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(['=', ',']).unwrap_or(rest.len());
            let (key, value) = if rest[end..].starts_with('=') {
                let key = &rest[..end];
                rest = &rest[end + 1..];
                (key, Some(value(&mut rest)))
            } else if let (true, Some(implied)) = (pairs.is_empty(), implied) {
                (implied, Some(value(&mut rest)))
            } else {
                let key = &rest[..end];
                rest = rest.get(end + 1..).unwrap_or("");
                (key, None)
            };
            if key.is_empty() {
                return Err(SystemError::value(origin, text, "a list of key=value"));
            }
            pairs.push(Pair {
                key: key.to_owned(),
                value,
                taken: false,
            });
        }
        Ok(Self {
            origin: origin.to_owned(),
            pairs,
            asked: Vec::new(),
        })
    }

    /// The option, for errors.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether help is asked for: `help` or `?` alone among the items, or as the implied value.
    pub fn wants_help(&self) -> bool {
        let word = |text: &str| matches!(text, "help" | "?");
        self.pairs
            .iter()
            .enumerate()
            .any(|(index, pair)| match &pair.value {
                None => word(&pair.key),
                Some(value) => index == 0 && word(value),
            })
    }

    /// All values of a key, in order.
    pub fn all(&mut self, key: &str) -> Vec<String> {
        self.asked.push(key.to_owned());
        let named = self.pairs.iter_mut().filter(|pair| pair.key == key);
        named
            .map(|pair| {
                pair.taken = true;
                pair.value.clone().unwrap_or_else(|| "on".to_owned())
            })
            .collect()
    }

    /// The last value of a key.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.all(key).pop()
    }

    /// The value of a key that must be there.
    pub fn required(&mut self, key: &'static str) -> Result<String, SystemError> {
        self.text(key).ok_or_else(|| SystemError::Missing {
            origin: self.origin.clone(),
            key,
        })
    }

    /// On or off; `key` alone is on, `nokey` alone is off.
    pub fn switch(&mut self, key: &str) -> Result<Option<bool>, SystemError> {
        let negated = format!("no{key}");
        for pair in &mut self.pairs {
            if pair.value.is_none() && pair.key == negated {
                pair.key = key.to_owned();
                pair.value = Some("off".to_owned());
            }
        }
        let Some(value) = self.text(key) else {
            return Ok(None);
        };
        switch(&value)
            .map(Some)
            .ok_or_else(|| self.wrong(key, &value, "on or off"))
    }

    /// A number in the notations of C.
    pub fn number<T: TryFrom<u64>>(&mut self, key: &str) -> Result<Option<T>, SystemError> {
        let Some(value) = self.text(key) else {
            return Ok(None);
        };
        let number = parse_number(&value).and_then(|number| T::try_from(number).ok());
        let number = number.ok_or_else(|| self.wrong(key, &value, "a number in its range"))?;
        Ok(Some(number))
    }

    /// A number of bytes; `unit` is that of a number without a suffix.
    pub fn size(&mut self, key: &str, unit: u64) -> Result<Option<u64>, SystemError> {
        let Some(value) = self.text(key) else {
            return Ok(None);
        };
        let size = parse_size(&value, unit);
        size.map(Some).ok_or_else(|| self.wrong(key, &value, SIZE))
    }

    /// Anything that has a notation of its own.
    pub fn parsed<T: FromStr>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, SystemError> {
        let Some(value) = self.text(key) else {
            return Ok(None);
        };
        let parsed = value.parse().ok();
        parsed
            .map(Some)
            .ok_or_else(|| self.wrong(key, &value, expected))
    }

    /// One of several names.
    pub fn choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, SystemError> {
        let Some(value) = self.text(key) else {
            return Ok(None);
        };
        let chosen = choices.iter().find(|(name, _)| *name == value);
        let chosen = chosen.ok_or_else(|| {
            let what = format!("value of {key}=");
            let names = choices.iter().map(|(name, _)| *name);
            SystemError::unknown(&self.origin, what, &value, names)
        })?;
        Ok(Some(chosen.1))
    }

    /// A property that is here what it is, accepted if it says so.
    pub fn fixed(&mut self, key: &str, values: &[&str]) -> Result<(), SystemError> {
        match self.text(key) {
            Some(value) if !values.contains(&value.as_str()) => {
                let expected = format!("supported here: only {}", values.join(", "));
                Err(self.wrong(key, &value, &expected))
            }
            _ => Ok(()),
        }
    }

    /// A property that may be anything: it changes nothing that a guest or user can see.
    pub fn ignored(&mut self, keys: &[&str]) {
        keys.iter().for_each(|key| drop(self.all(key)));
    }

    /// Refuses keys of QEMU's that are not there.
    pub fn absent(&mut self, keys: &[&str], reason: &'static str) -> Result<(), SystemError> {
        for key in keys {
            if self.text(key).is_some() {
                let what = format!("{}: `{key}=`", self.origin);
                return Err(SystemError::unsupported(what, reason));
            }
        }
        Ok(())
    }

    /// Refuses what nobody asked for: a property that `owner` does not have.
    pub fn done(self, owner: &str) -> Result<(), SystemError> {
        let Some(pair) = self.pairs.iter().find(|pair| !pair.taken) else {
            return Ok(());
        };
        let known = self.asked.iter().map(String::as_str);
        Err(SystemError::Property {
            nearest: nearest(&pair.key, known).map(str::to_owned),
            origin: self.origin,
            owner: owner.to_owned(),
            name: pair.key.clone(),
        })
    }

    /// A wrong value of a key.
    pub fn wrong(&self, key: &str, value: &str, expected: &str) -> SystemError {
        SystemError::value(format!("{}: {key}", self.origin), value, expected)
    }
}

const SIZE: &str = "a size in bytes or with K, M, G or T";

/// Reads up to the next comma that stands alone, and goes past it.
fn value(rest: &mut &str) -> String {
    let mut value = String::new();
    loop {
        let end = rest.find(',').unwrap_or(rest.len());
        value.push_str(&rest[..end]);
        match rest[end..].strip_prefix(",,") {
            Some(after) => {
                value.push(',');
                *rest = after;
            }
            None => {
                *rest = rest.get(end + 1..).unwrap_or("");
                return value;
            }
        }
    }
}

/// QEMU's words for on and off.
pub fn switch(text: &str) -> Option<bool> {
    match text {
        "on" | "yes" | "true" | "y" => Some(true),
        "off" | "no" | "false" | "n" => Some(false),
        _ => None,
    }
}

/// A number of bytes with a suffix for powers of 1024; `unit` without any.
pub fn parse_size(text: &str, unit: u64) -> Option<u64> {
    let (digits, unit) = match text.chars().last()?.to_ascii_lowercase() {
        // In hexadecimal the letter is a digit.
        'b' if !text.starts_with("0x") => (&text[..text.len() - 1], 1),
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        't' => (&text[..text.len() - 1], 1 << 40),
        _ => (text, unit),
    };
    parse_number(digits)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Keyval {
        Keyval::parse("-x", text, Some("type")).expect("a list")
    }

    #[test]
    fn the_first_value_may_drop_its_key() {
        let mut drive = list("virt,a=1,b");
        assert_eq!(drive.text("type").as_deref(), Some("virt"));
        assert_eq!(drive.number::<u8>("a").expect("a number"), Some(1));
        assert_eq!(drive.switch("b").expect("a switch"), Some(true));
        drive.done("x").expect("nothing left");
        assert_eq!(list("a=1").text("type"), None);
        let mut bare = Keyval::parse("-x", "virt", None).expect("a list");
        assert_eq!(bare.switch("virt").expect("a switch"), Some(true));
    }

    #[test]
    fn two_commas_are_one() {
        let mut names = list("a,,b=c,,,file=x,,y,,,,z,g");
        assert_eq!(names.text("type").as_deref(), Some("a,b=c,"));
        assert_eq!(names.text("file").as_deref(), Some("x,y,,z"));
        assert_eq!(names.text("g").as_deref(), Some("on"));
        names.done("x").expect("nothing left");
    }

    #[test]
    fn keys_may_come_again() {
        let mut list = list("t,fwd=a,fwd=b,n=1,n=2,fwd=c");
        assert_eq!(list.all("fwd"), ["a", "b", "c"]);
        assert_eq!(list.number::<u64>("n").expect("a number"), Some(2));
    }

    #[test]
    fn switches_have_many_words() {
        for (text, on) in [
            ("t,wait", true),
            ("t,nowait", false),
            ("t,wait=yes", true),
            ("t,wait=off", false),
            ("t,nowait,wait=true", true),
        ] {
            let mut list = list(text);
            assert_eq!(list.switch("wait").expect("a switch"), Some(on), "{text}");
            list.ignored(&["type"]);
            list.done("x").expect("nothing left");
        }
        assert_eq!(list("t").switch("wait").expect("none"), None);
        assert!(list("t,wait=maybe").switch("wait").is_err());
    }

    #[test]
    fn what_nobody_asked_for_is_unknown() {
        let mut list = list("t,serila=1");
        list.ignored(&["type", "serial"]);
        let error = list.done("`d`").expect_err("unknown").to_string();
        assert_eq!(
            error,
            "-x: `d` has no property `serila`, did you mean `serial`?"
        );
    }

    #[test]
    fn values_are_named_with_their_key() {
        let error = |result: Result<Option<u8>, SystemError>| {
            result.map(|_| ()).expect_err("an error").to_string()
        };
        let wrong = error(list("t,n=300").number("n"));
        assert_eq!(wrong, "-x: n: `300` is not a number in its range");
        let wrong = error(list("t,n=rod").choice("n", &[("red", 1), ("blue", 2)]));
        assert!(wrong.contains("did you mean `red`?"), "{wrong}");
        let wrong = list("t,n=1").fixed("n", &["0"]).expect_err("an error");
        assert!(wrong.to_string().contains("only 0"), "{wrong}");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("512", 1 << 20), Some(512 << 20));
        assert_eq!(parse_size("2G", 1 << 20), Some(2 << 30));
        assert_eq!(parse_size("64k", 1), Some(65536));
        assert_eq!(parse_size("100b", 1 << 20), Some(100));
        assert_eq!(parse_size("0x10b", 1), Some(0x10b));
        for bad in ["", "M", "-1", "1x", "99999999999T", "G1"] {
            assert_eq!(parse_size(bad, 1), None, "{bad}");
        }
    }

    #[test]
    fn empty_keys_are_refused() {
        assert!(Keyval::parse("-x", "=a", None).is_err());
        assert!(Keyval::parse("-x", "a=1,,b=2,,", None).is_ok());
        assert!(Keyval::parse("-x", ",a=1", None).is_err());
        assert!(list("help").wants_help() && list("virt,help").wants_help());
        assert!(!list("virt,file=help").wants_help());
    }
}
