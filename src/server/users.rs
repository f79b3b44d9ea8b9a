//! Users at the start, and in the configuration file.

use super::Server;
use crate::commands::acl::{User, Users};
use crate::config::Settings;
use crate::error::InternalError;
use std::sync::Arc;

/// The users that the settings and the ACL file name.
pub(super) fn load(settings: &Settings) -> Result<Users, InternalError> {
    let users = Users::default();
    if !settings.requirepass.is_empty() {
        users.set_default_password(&settings.requirepass);
    }
    let wrong = |error: String| InternalError::Other(format!("users: {error}"));
    for line in &settings.users {
        let [name, rules @ ..] = line.as_slice() else {
            continue;
        };
        // Beginning with nothing, also the default user.
        let mut words: Vec<&[u8]> = vec![b"reset"];
        words.extend(rules.iter().map(|rule| rule.as_bytes()));
        let all_channels = settings.acl_pubsub_default_all;
        if name != "default" && users.get(name.as_bytes()).is_some() {
            let text = "Duplicate user found. A user can only be defined once in config files";
            return Err(wrong(text.to_owned()));
        }
        users
            .set(name.as_bytes(), &words, all_channels)
            .map_err(wrong)?;
        if users
            .get(name.as_bytes())
            .is_some_and(|user| !user.is_enabled)
        {
            tracing::info!(
                user = name,
                "this user is disabled: its rules do not say 'on'"
            );
        }
    }
    let Some(path) = settings.aclfile_path() else {
        return Ok(users);
    };
    if !settings.users.is_empty() {
        let text = "define either an ACL file or users in the configuration file, not both";
        return Err(wrong(text.to_owned()));
    }
    let content = std::fs::read(&path).map_err(InternalError::io("read", &path))?;
    users
        .load(&content, &settings.aclfile, settings.acl_pubsub_default_all)
        .map_err(wrong)?;
    Ok(users)
}

impl Server {
    /// The users as lines of the configuration file; without the default one, if it is as the settings alone make it.
    pub(super) fn changed_users(&self, settings: &Settings) -> Vec<Vec<String>> {
        let as_settings_say = Users::default();
        if !settings.requirepass.is_empty() {
            as_settings_say.set_default_password(&settings.requirepass);
        }
        let is_default = |user: &Arc<User>| {
            settings.users.is_empty() && as_settings_say.get(b"default").as_ref() == Some(user)
        };
        let users = self.users.current().0;
        users
            .values()
            .filter(|user| !is_default(user))
            .map(|user| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let rules = text(&user.describe());
                let mut line = vec![text(&user.name)];
                line.extend(rules.split(' ').map(str::to_owned));
                line
            })
            .collect()
    }
}
