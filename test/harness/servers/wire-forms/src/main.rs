//! Reads messages and writes them again with rust-protobuf 2.8, as TiKV writes its answers.
//!
//! Each line of stdin is `MESSAGE HEX`, such as `kvrpcpb.GetResponse 12016b`; nothing follows the blank where the
//! message is empty. Each line of stdout is the answer to the same line of stdin: `ok HEX`, or `no` and why it is no such
//! message.
use protobuf::{Message, ProtobufResult};
use std::io::{self, BufRead, BufWriter, Write};

#[allow(warnings)]
mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

fn rewritten<M: Message>(bytes: &[u8]) -> ProtobufResult<Vec<u8>> {
    protobuf::parse_from_bytes::<M>(bytes)?.write_to_bytes()
}

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        match answer(&line?) {
            Ok(hex) => writeln!(out, "ok {hex}")?,
            Err(reason) => writeln!(out, "no {reason}")?,
        }
    }
    out.flush()
}

fn answer(line: &str) -> Result<String, String> {
    let (message, hex) = line.split_once(' ').ok_or("a line is MESSAGE HEX")?;
    let bytes = from_hex(hex).ok_or("that is no hex")?;
    match messages::again(message, &bytes) {
        None => Err(format!("there is no {message}")),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(bytes)) => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    if hex.len() % 2 != 0 || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}
