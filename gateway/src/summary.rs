//! What a configuration would do, for `gateway check`.

use std::collections::BTreeMap;
use std::fmt::Write;

use gateway::Config;
use gateway::config::{Agreement, Condition, Direction, Limit};

/// A readable summary, Chinese and English.
pub(crate) fn of(config: &Config) -> String {
    let mut out = String::new();
    // Writing into a String has no way to fail.
    let _ = write(&mut out, config);
    out
}

fn write(out: &mut String, config: &Config) -> std::fmt::Result {
    writeln!(out, "配置正确 the configuration is fine")?;
    let place = &config.place;
    let area = if place.area.as_str().is_empty() { "unknown" } else { place.area.as_str() };
    writeln!(
        out,
        "网关 gateway        {} {} {area} ({:.6}, {:.6} {:?})",
        config.id,
        config.label,
        place.lat(),
        place.lon(),
        place.datum
    )?;
    writeln!(out, "板卡 board          {:?}", config.board)?;
    let way = if config.receipts {
        "ingest 回执后遗忘 forgets on ingest's receipt"
    } else {
        "确认后遗忘 forgets on the broker's acknowledgement"
    };
    writeln!(out, "上行 uplink         {} {way}", config.broker)?;
    writeln!(
        out,
        "数据 data           {}，配额 quota {} MiB",
        config.data.display(),
        config.quota_bytes >> 20
    )?;
    writeln!(
        out,
        "批次 batch          {} 条或 {:.1} 秒 readings or s",
        config.batch.readings,
        config.batch.age_ms as f64 / 1e3
    )?;
    if let Some(seal) = &config.seal {
        let fingerprint: String = seal.roots.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(
            out,
            "印章 seal           {}，根 roots {fingerprint}（{} / {}）",
            seal.roots.seal,
            seal.roots.needed,
            seal.roots.keys.len()
        )?;
    }
    for line in &config.seal_lines {
        let fingerprint = gateway::seal::key::line_fingerprint(&line.key);
        writeln!(
            out,
            "印章线路 seal line   {}，{} {} baud，指纹 fingerprint {fingerprint}",
            line.seal,
            line.port.display(),
            line.baud
        )?;
    }
    let per_second: f64 = config.sensors.iter().map(|s| 1e3 / s.every_ms as f64).sum();
    writeln!(
        out,
        "传感器 sensors      {}，每秒 {per_second:.1} 条读数 readings a second",
        config.sensors.len()
    )?;
    let mut by_bus: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for device in &config.devices {
        let names: Vec<String> = device
            .outputs
            .iter()
            .filter_map(|output| config.sensors.get(usize::from(output.sensor)))
            .map(|sensor| format!("{} [{} {}]", sensor.name, sensor.quantity.name, sensor.quantity.unit))
            .collect();
        let every = device.every_ms as f64 / 1e3;
        by_bus.entry(&device.bus).or_default().push(format!(
            "{} {}: {} / {every} s",
            device.chip.word(),
            device.name,
            names.join(", ")
        ));
    }
    for (bus, devices) in by_bus {
        writeln!(out, "  总线 bus {bus}")?;
        for device in devices {
            writeln!(out, "    {device}")?;
        }
    }
    writeln!(out, "告警规则 rules       {}", config.rules.len())?;
    for rule in &config.rules {
        write!(out, "  {} [{:?}]: ", rule.name, rule.level)?;
        match &rule.condition {
            Condition::Limit(limit) => write_limit(out, config, limit)?,
            Condition::Agreement(agreement) => write_agreement(out, config, agreement)?,
        }
        write!(out, "延时 on {} s, off {} s", seconds(rule.on_delay_ms), seconds(rule.off_delay_ms))?;
        if let Some(repeat_ms) = rule.repeat_ms {
            write!(out, "，重复 again every {} s", seconds(repeat_ms))?;
        }
        writeln!(out, ")")?;
    }
    Ok(())
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

fn write_limit(out: &mut String, config: &Config, limit: &Limit) -> std::fmt::Result {
    let Some(sensor) = config.sensors.get(usize::from(limit.sensor)) else { return Ok(()) };
    let unit = &sensor.quantity.unit;
    write!(out, "{} ", sensor.name)?;
    match (limit.over_ms, limit.direction) {
        (None, Direction::Above) => write!(out, "> {} {unit}", limit.threshold)?,
        (None, Direction::Below) => write!(out, "< {} {unit}", limit.threshold)?,
        (Some(over_ms), Direction::Above) => {
            write!(out, "{} s 内上升 rises > {} {unit}", seconds(over_ms), limit.threshold)?;
        }
        (Some(over_ms), Direction::Below) => {
            write!(out, "{} s 内下降 falls > {} {unit}", seconds(over_ms), -limit.threshold)?;
        }
    }
    write!(out, " (回差 deadband {}, ", limit.deadband)
}

fn write_agreement(out: &mut String, config: &Config, agreement: &Agreement) -> std::fmt::Result {
    let names: Vec<&str> = (agreement.members.iter())
        .filter_map(|&member| config.rules.get(member))
        .map(|member| member.name.as_str())
        .collect();
    write!(out, "{} 中至少 at least {} (", names.join(", "), agreement.needed)?;
    match agreement.within_ms {
        Some(within_ms) => write!(out, "相隔至多 within {} s, ", seconds(within_ms)),
        None => write!(out, "同时 at once, "),
    }
}
