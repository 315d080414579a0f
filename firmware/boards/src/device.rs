//! What the configuration says hangs where.

use wire::QuantityCode;

/// A part that Watchfire can read.
#[derive(Debug, Clone, PartialEq)]
pub enum Chip {
    /// Sensirion SHT40/41/45, I²C: outputs `temperature` and `humidity`.
    Sht4x {
        /// I²C address, 0x44 to 0x46.
        address: u8,
    },
    /// TI ADS1115 with a 4–20 mA loop over a shunt, I²C: output `value`.
    Ads1115Loop {
        /// I²C address, 0x48 to 0x4b.
        address: u8,
        /// Input 0 to 3, single-ended.
        channel: u8,
        /// Shunt resistance in ohms.
        shunt_ohm: f64,
        /// Value at 4 mA, in the quantity's unit.
        at_4ma: f64,
        /// Value at 20 mA.
        at_20ma: f64,
    },
    /// DFRobot A02YYUW ultrasonic level sensor, UART 9600 8N1: output `distance`, or `level` when mounted above a bottom.
    A02yyuw {
        /// Height of the sensor above the zero of the level, in mm; `None` gives the distance itself.
        mounted_mm: Option<f64>,
    },
    /// A dry contact on a GPIO: output `contact`, 1 when closed.
    Contact {
        /// BCM number of the pin.
        pin: u8,
        /// How long it must be stable, in ms.
        debounce_ms: u32,
        /// Whether the pin is low when the contact is closed (pull-up wiring).
        active_low: bool,
    },
    /// A tipping-bucket rain gauge on a GPIO: output `rain`, mm since the last report.
    RainGauge {
        /// BCM number of the pin.
        pin: u8,
        /// Rain per tip in mm, usually 0.2 or 0.5.
        mm_per_tip: f64,
    },
    /// The machine the gateway runs on: outputs `cpu`, `load`, `memory`, `disk`, `uptime`, and whatever
    /// [`crate::linux::discover`] finds besides: `hwmon:NAME/LABEL` and `thermal:TYPE`.
    Machine,
}

impl Chip {
    /// The word used in configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Chip::Sht4x { .. } => "sht4x",
            Chip::Ads1115Loop { .. } => "ads1115-loop",
            Chip::A02yyuw { .. } => "a02yyuw",
            Chip::Contact { .. } => "contact",
            Chip::RainGauge { .. } => "rain-gauge",
            Chip::Machine => "machine",
        }
    }

    /// The outputs this part can give, by name. [`Chip::Machine`] has more: see [`Chip::has_output`].
    pub fn outputs(&self) -> &'static [&'static str] {
        match self {
            Chip::Sht4x { .. } => &["temperature", "humidity"],
            Chip::Ads1115Loop { .. } => &["value"],
            Chip::A02yyuw { mounted_mm: None } => &["distance"],
            Chip::A02yyuw { mounted_mm: Some(_) } => &["distance", "level"],
            Chip::Contact { .. } => &["contact"],
            Chip::RainGauge { .. } => &["rain"],
            Chip::Machine => &["cpu", "load", "memory", "disk", "uptime"],
        }
    }

    /// Whether the part can give an output of this name. For a machine, names of hwmon sensors and thermal zones
    /// are accepted unseen: they may be plugged in later.
    pub fn has_output(&self, name: &str) -> bool {
        let later =
            ["hwmon:", "thermal:"].iter().any(|kind| name.len() > kind.len() && name.starts_with(kind));
        self.outputs().contains(&name) || (matches!(self, Chip::Machine) && later)
    }

    /// What the part hangs on.
    pub fn link(&self) -> Link {
        match self {
            Chip::Sht4x { .. } | Chip::Ads1115Loop { .. } => Link::I2c,
            Chip::A02yyuw { .. } => Link::Uart,
            Chip::Contact { .. } | Chip::RainGauge { .. } => Link::Gpio,
            Chip::Machine => Link::Kernel,
        }
    }
}

/// Kinds of wire between a part and the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Two wires, many parts.
    I2c,
    /// One serial line, one part.
    Uart,
    /// One pin each.
    Gpio,
    /// None: files of the kernel.
    Kernel,
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Link::I2c => "I2C",
            Link::Uart => "UART",
            Link::Gpio => "GPIO",
            Link::Kernel => "kernel",
        })
    }
}

/// One quantity a device gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Which of the chip's outputs: `temperature`, `humidity`, `value`, `distance`, `level`, `contact`, `rain`, …
    pub output: String,
    /// Number the samples carry.
    pub sensor: u16,
    /// What it measures.
    pub quantity: QuantityCode,
}

/// One device of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSpec {
    /// Its name, for messages.
    pub name: String,
    /// The part.
    pub chip: Chip,
    /// The bus it hangs on: `/dev/i2c-1`, `/dev/serial0`, `gpio`, or any name on the simulated board.
    pub bus: String,
    /// How often to read it, in milliseconds; contacts are watched all the time and report changes at once as well.
    pub every_ms: u64,
    /// What it gives.
    pub outputs: Vec<Output>,
}
