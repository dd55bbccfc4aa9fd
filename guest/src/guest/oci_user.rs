//! `User` of an OCI image, resolved with the image's own passwd and group files, which may hold anything.

use crate::failure::Failure;

/// The largest id, as runc has it.
const ID_LIMIT: u32 = i32::MAX as u32;
/// The most supplementary groups that are taken: the kernel's limit.
const GROUPS_LIMIT: usize = 65_536;

/// Who the application runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home folder, where the passwd file has one.
    pub home: Option<String>,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `user`, `uid`, `user:group`, `uid:gid` and the mixtures (OCI image specification, `config.User`); empty is root.
pub fn resolve(user: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Failure> {
    let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
    let (user_text, group_text) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user_text = if user_text.is_empty() { "0" } else { user_text };
    let numeric = parse_id(user_text);
    let entry = passwd.lines().filter_map(passwd_entry).find(|entry| entry.name == user_text || Some(entry.uid) == numeric);
    let (uid, gid, name, home) = match (&entry, numeric) {
        (Some(entry), _) => (entry.uid, entry.gid, Some(entry.name), Some(entry.home).filter(|home| home.starts_with('/'))),
        (None, Some(uid)) => (uid, 0, None, None),
        (None, None) => return Err(unknown("user", user_text)),
    };
    let (gid, groups) = match (group_text, name) {
        (Some(text), _) => (find_group(text, &group)?, Vec::new()),
        (None, Some(name)) => (gid, memberships(name, &group)),
        (None, None) => (gid, Vec::new()),
    };
    Ok(Identity { uid, gid, groups, home: home.filter(|home| !home.contains('\0')).map(str::to_string) })
}

fn find_group(text: &str, group: &str) -> Result<u32, Failure> {
    let numeric = parse_id(text);
    let entry = group.lines().filter_map(group_entry).find(|entry| entry.name == text || Some(entry.gid) == numeric);
    entry.map(|entry| entry.gid).or(numeric).ok_or_else(|| unknown("group", text))
}

fn memberships(name: &str, group: &str) -> Vec<u32> {
    let entries = group.lines().filter_map(group_entry);
    entries.filter(|entry| entry.members.split(',').any(|member| member == name)).map(|entry| entry.gid).take(GROUPS_LIMIT).collect()
}

fn unknown(what: &str, text: &str) -> Failure {
    Failure::new("no-such-user", format!("the image has no {} {}", what, text.chars().take(64).collect::<String>()))
}

fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id <= ID_LIMIT)
}

/// name:password:uid:gid:gecos:home:shell (man 5 passwd); a line that is none is passed over.
fn passwd_entry(line: &str) -> Option<PasswdEntry<'_>> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let uid = parse_id(fields.nth(1)?)?;
    let gid = parse_id(fields.next()?)?;
    Some(PasswdEntry { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
}

/// name:password:gid:members (man 5 group).
fn group_entry(line: &str) -> Option<GroupEntry<'_>> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = parse_id(fields.nth(1)?)?;
    Some(GroupEntry { name, gid, members: fields.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n1234:x:7:8::/seven:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nstaff:x:50:web,other\nwww:x:33:other,web\nwebbers:x:60:webb\n";

    fn identity(uid: u32, gid: u32, groups: &[u32], home: Option<&str>) -> Identity {
        Identity { uid, gid, groups: groups.to_vec(), home: home.map(str::to_string) }
    }

    #[test]
    fn forms_of_the_specification() {
        let resolved = |user: &str| resolve(user, PASSWD, GROUP).unwrap();
        assert_eq!(resolved(""), identity(0, 0, &[], Some("/root")));
        assert_eq!(resolved("root"), identity(0, 0, &[], Some("/root")));
        assert_eq!(resolved("web"), identity(1000, 1001, &[50, 33], Some("/home/web")));
        assert_eq!(resolved("1000"), identity(1000, 1001, &[50, 33], Some("/home/web")));
        assert_eq!(resolved("web:staff"), identity(1000, 50, &[], Some("/home/web")));
        assert_eq!(resolved("web:99"), identity(1000, 99, &[], Some("/home/web")));
        assert_eq!(resolved("4242"), identity(4242, 0, &[], None));
        assert_eq!(resolved("4242:4343"), identity(4242, 4343, &[], None));
        assert_eq!(resolved(":33"), identity(0, 33, &[], Some("/root")));
        assert_eq!(resolved("1234"), identity(7, 8, &[], Some("/seven")));
    }

    #[test]
    fn unknown_names_and_bad_ids() {
        for user in ["nobody", "web:nobody", "-1", "4294967295", "99999999999999999999", "+5", "0x1", " 0", "web:-1", "a:b:c"] {
            assert!(resolve(user, PASSWD, GROUP).is_err(), "{}", user);
        }
    }

    #[test]
    fn hostile_files() {
        let files: [&[u8]; 8] = [
            b"", b":::::::\n:x:0:0::/:", b"web", b"web:x:-1:0::/:\nweb:x:4294967295:0::/:", b"web:x:99999999999:0", b"\xff\xfe:x:0:0\n\0:\0:\0", b"web:x:5\n", b"+::::::",
        ];
        for file in files {
            assert!(resolve("web", file, file).is_err());
            assert_eq!(resolve("0", file, file).map(|who| (who.uid, who.gid)), Ok((0, 0)));
        }
        let strange = resolve("web", b"web:x:5:6::relative:\n", b"").unwrap();
        assert_eq!(strange, identity(5, 6, &[], None));
        let many = "g:x:1:web\n".repeat(100_000);
        assert_eq!(resolve("web", PASSWD, many.as_bytes()).unwrap().groups.len(), GROUPS_LIMIT);
    }
}
