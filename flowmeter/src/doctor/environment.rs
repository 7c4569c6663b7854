//! The environment that the service has and a shell has not: `EnvironmentFile=` of the unit.

use std::{ffi::OsString, fs, io, path::Path};

use anyhow::{Context, Result};

/// The file that the packaged unit names.
pub const FILE: &str = "/etc/default/flowmeter";

/// The variables that `path` sets; none if there is no such file.
///
/// # Errors
/// If it is there and cannot be read.
pub fn read(path: &Path) -> Result<Vec<(OsString, OsString)>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// systemd.exec(5), `EnvironmentFile=`: one assignment a line, quotes around a value are taken off, other lines are
/// passed over. Escapes and continued lines, which no value of ours needs, are not known here.
fn parse(text: &str) -> Vec<(OsString, OsString)> {
    let assignment = |line: &str| {
        let line = line.trim();
        let (name, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))?;
        let value = value.trim();
        let unquoted = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        Some((name.trim().into(), unquoted.unwrap_or(value).into()))
    };
    text.lines().filter_map(assignment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_systemd_reads_them() {
        let text = "# INTERNAL_NETWORKS=1\n; X=2\n\nINTERNAL_NETWORKS=\"10.0.0.0/8,fd00::/8\"\nFLOWMETER_LOG = 'debug'\nB=\nno\n";
        let read: Vec<_> = parse(text)
            .into_iter()
            .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
            .collect();
        let expected = [
            ("INTERNAL_NETWORKS", "10.0.0.0/8,fd00::/8"),
            ("FLOWMETER_LOG", "debug"),
            ("B", ""),
        ];
        assert_eq!(
            read,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
