//! `flowmeter interfaces`: what can be attached where, and who is there already.

use std::fmt;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use serde::Serialize;

use crate::{
    capture::{
        features::Features,
        interfaces::{self, Interface, Patterns},
        plan::plan,
    },
    config::Config,
};

/// One line an interface.
#[derive(Debug, Serialize)]
pub struct Table {
    interfaces: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    index: u32,
    up: bool,
    /// Driver of hardware, kind of a virtual link.
    kind: String,
    metered: bool,
    /// How it is (or would be) metered and why, or why not.
    how: String,
    /// Id and name of the program in the XDP slot.
    xdp_slot: Option<String>,
}

/// Describes every interface of this network namespace under `config`.
///
/// # Errors
/// The kernel does not list its interfaces, or does not let this process ask what it supports.
pub fn table(config: &Config) -> Result<Table> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let interfaces = runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
        tokio::spawn(connection);
        interfaces::list(&handle).await
    })?;
    let features = Features::probe()?;
    let drop = Patterns::new(&config.capture.drop_after_count)?;
    let selected = interfaces::select(&interfaces, &config.capture)?;
    let rows = interfaces.iter().zip(selected).map(|(interface, skipped)| {
        let planned = plan(
            interface,
            &config.capture,
            &features,
            drop.matches(&interface.name),
        );
        let (possible, how) = match planned {
            Ok(plan) => (true, format!("{} ({})", plan.describe(), plan.why)),
            Err(impossible) => (false, impossible.to_string()),
        };
        Row {
            name: interface.name.clone(),
            index: interface.index,
            up: interface.up,
            kind: kind(interface),
            metered: skipped.is_none() && possible,
            how: match skipped {
                None => how,
                Some(skipped) => format!("not metered: {skipped}; could be: {how}"),
            },
            xdp_slot: interface.xdp_program.map(holder),
        }
    });
    Ok(Table {
        interfaces: rows.collect(),
    })
}

fn kind(interface: &Interface) -> String {
    match (&interface.driver, &interface.kind) {
        (Some(driver), _) => driver.clone(),
        (None, Some(kind)) => kind.clone(),
        (None, None) if interface.loopback => "loopback".to_owned(),
        (None, None) => "virtual".to_owned(),
    }
}

fn holder(id: u32) -> String {
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    match name {
        Some(name) => format!("program {id} ({name})"),
        None => format!("program {id}"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Row) -> &str, least: usize| {
            self.interfaces
                .iter()
                .map(|row| of(row).len())
                .max()
                .unwrap_or(0)
                .max(least)
        };
        let name = width(|row| &row.name, 9);
        let kind = width(|row| &row.kind, 4);
        writeln!(
            f,
            "{:name$}  {:kind$}  {:5}  {:7}  HOW",
            "INTERFACE", "KIND", "STATE", "METERED"
        )?;
        for row in &self.interfaces {
            writeln!(
                f,
                "{:name$}  {:kind$}  {:5}  {:7}  {}",
                row.name,
                row.kind,
                if row.up { "up" } else { "down" },
                if row.metered { "yes" } else { "no" },
                row.how
            )?;
            if let Some(slot) = &row.xdp_slot {
                writeln!(
                    f,
                    "{:name$}  {:kind$}  {:5}  {:7}  XDP slot held by {slot}",
                    "", "", "", ""
                )?;
            }
        }
        Ok(())
    }
}
