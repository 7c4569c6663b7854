//! `flowmeter check-config`

use std::fmt::Write;

use anyhow::Result;

use crate::{
    cli::Configuration,
    config::{DEFAULT_FILE, Origin},
};

pub(super) fn run(arguments: &Configuration) -> Result<()> {
    let loaded = super::load(&arguments.sources())?;
    let mut output = match &loaded.file {
        Some(path) => format!("# {}; what differs from the defaults:\n", path.display()),
        None => format!("# no {DEFAULT_FILE}; what differs from the defaults:\n"),
    };
    for (key, value, origin) in loaded.differences()? {
        // A port's name needs quotes; then a line can be copied into a file.
        let key = match key.strip_prefix("services.") {
            Some(port) => format!("services.\"{port}\""),
            None => key,
        };
        let origin = origin.map(Origin::to_string).unwrap_or_default();
        writeln!(output, "{key} = {value}  # {origin}")?;
    }
    output.push_str("ok\n");
    super::print(output)
}
