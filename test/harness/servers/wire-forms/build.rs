//! Generates the messages out of upstream's descriptors, which WIRE_FORMS_DESCRIPTORS names: a FileDescriptorSet with
//! all that they refer to. So nothing of upstream's is kept here.
use protobuf::descriptor::{DescriptorProto, FileDescriptorSet};
use protobuf_codegen::Customize;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    let descriptors = env::var("WIRE_FORMS_DESCRIPTORS").expect("WIRE_FORMS_DESCRIPTORS names the descriptors");
    println!("cargo:rerun-if-env-changed=WIRE_FORMS_DESCRIPTORS");
    println!("cargo:rerun-if-changed={descriptors}");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let set: FileDescriptorSet =
        protobuf::parse_from_bytes(&fs::read(&descriptors).expect("the descriptors can be read"))
            .expect("they are a FileDescriptorSet");
    let files = set.get_file();
    let names: Vec<String> = files.iter().map(|file| file.get_name().to_owned()).collect();
    let customize = Customize {
        generate_accessors: Some(false),
        lite_runtime: Some(true),
        ..Default::default()
    };

    let mut modules = String::new();
    for file in protobuf_codegen::gen(files, &names, &customize) {
        fs::write(Path::new(&out).join(&file.name), &file.content).expect("OUT_DIR can be written");
        let module = file.name.trim_end_matches(".rs");
        writeln!(modules, "#[path = \"{out}/{}\"]\npub mod {module};", file.name).unwrap();
    }
    // write_to_bytes of the named message, after parse_from_bytes of it.
    writeln!(modules, "pub fn again(message: &str, bytes: &[u8]) -> Option<::protobuf::ProtobufResult<Vec<u8>>> {{")
        .unwrap();
    writeln!(modules, "    Some(match message {{").unwrap();
    for file in files {
        let module = file.get_name().trim_end_matches(".proto").replace('/', "_");
        for message in file.get_message_type() {
            arms(&mut modules, &module, file.get_package(), "", message);
        }
    }
    writeln!(modules, "        _ => return None,\n    }})\n}}").unwrap();
    fs::write(Path::new(&out).join("messages.rs"), modules).expect("OUT_DIR can be written");
}

fn arms(to: &mut String, module: &str, scope: &str, outer: &str, message: &DescriptorProto) {
    if message.get_options().get_map_entry() {
        return;
    }
    let name = format!("{scope}.{}", message.get_name());
    let rust = format!("{outer}{}", message.get_name());
    writeln!(to, "        \"{name}\" => crate::rewritten::<{module}::{rust}>(bytes),").unwrap();
    for nested in message.get_nested_type() {
        arms(to, module, &name, &format!("{rust}_"), nested);
    }
}
