//! A person before a seal that exists in a folder: `hand FOLDER press`. See `boards::seal::world`.
#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::path::Path;
use std::process::ExitCode;

use boards::seal::world::{Deed, World};

const HELP: &str = "\
用法 usage: hand FOLDER WORDS
  press         按一次 press once              press twice   按两次 press twice
  force         锁着也按 press though it is closed
  begin DEED, end DEED   做、撤销 do, undo: jam cover cut away blind
  pin DIGITS, card HEX   输入 PIN、刷卡 type a PIN, show a card
  power-off     断电 take the power away
  look          查看 tell how it is";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.split_first() {
        Some((folder, words)) => World::at(Path::new(folder)).and_then(|world| act(&world, words)),
        None => Ok(None),
    };
    match done {
        Ok(Some(said)) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Ok(None) => {
            println!("{HELP}");
            ExitCode::from(64)
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What there is to say; `None` when the words mean nothing.
fn act(world: &World, words: &[&str]) -> std::io::Result<Option<String>> {
    let deed = |word: &str| Deed::ALL.iter().find(|(name, _)| *name == word).map(|(_, deed)| *deed);
    let pressed = |is: bool| if is { "已盖 stamped" } else { "锁着 it is closed" };
    let said = match words {
        ["press"] => pressed(world.press(1)?).into(),
        ["press", "twice"] => pressed(world.press(2)?).into(),
        ["force"] => world.force().map(|()| pressed(true).into())?,
        ["power-off"] => world.power_off().map(|()| String::new())?,
        ["look"] => {
            let lock = if world.is_open()? { "开 open" } else { "关 closed" };
            format!("{lock}, 共盖 strokes: {}", world.strokes()?)
        }
        ["pin" | "card", _] => world.show(&words.join(" ")).map(|()| String::new())?,
        ["begin", word] if let Some(deed) = deed(word) => world.begin(deed).map(|()| String::new())?,
        ["end", word] if let Some(deed) = deed(word) => world.end(deed).map(|()| String::new())?,
        _ => return Ok(None),
    };
    Ok(Some(said))
}
