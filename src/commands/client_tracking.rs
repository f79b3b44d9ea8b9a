//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO.

use super::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::tracking::TrackingOptions;

/// As given, in order.
type Prefixes = Vec<Box<[u8]>>;

fn parse(
    context: &Context<'_>,
    arguments: &[&[u8]],
) -> Result<(TrackingOptions, Prefixes), CommandError> {
    const TWO_REDIRECTS: CommandError =
        CommandError::fixed("ERR A client can only redirect to a single other client");
    const NO_SUCH_CLIENT: CommandError =
        CommandError::fixed("ERR The client ID you want redirect to does not exist");
    let mut options = TrackingOptions::default();
    let mut prefixes: Vec<Box<[u8]>> = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let word = word.to_ascii_uppercase();
        match word.as_slice() {
            b"BCAST" => options.broadcast = true,
            b"OPTIN" => options.opt_in = true,
            b"OPTOUT" => options.opt_out = true,
            b"NOLOOP" => options.no_loop = true,
            b"PREFIX" => {
                let prefix = words.next().ok_or(CommandError::SYNTAX)?;
                prefixes.push((*prefix).into());
            }
            b"REDIRECT" => {
                let id = words.next().ok_or(CommandError::SYNTAX)?;
                if options.redirect != 0 {
                    return Err(TWO_REDIRECTS);
                }
                let id = super::options::integer(id)?;
                options.redirect = u64::try_from(id)
                    .ok()
                    .filter(|id| context.services.has_client(*id))
                    .ok_or(NO_SUCH_CLIENT)?;
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
    Ok((options, prefixes))
}

/// The options must agree with each other and with what is on already.
fn check(
    options: &TrackingOptions,
    prefixes: &[Box<[u8]>],
    former: Option<&TrackingOptions>,
) -> CommandResult {
    let fixed = |text| Err(CommandError::fixed(text));
    if !options.broadcast && !prefixes.is_empty() {
        return fixed("ERR PREFIX option requires BCAST mode to be enabled");
    }
    if former.is_some_and(|former| former.broadcast != options.broadcast) {
        return fixed(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a \
             different mode.",
        );
    }
    if options.broadcast && (options.opt_in || options.opt_out) {
        return fixed("ERR OPTIN and OPTOUT are not compatible with BCAST");
    }
    if options.opt_in && options.opt_out {
        return fixed("ERR You can't specify both OPTIN mode and OPTOUT mode");
    }
    let switches = former
        .is_some_and(|former| options.opt_in && former.opt_out || options.opt_out && former.opt_in);
    if switches {
        return fixed(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a \
             different mode.",
        );
    }
    check_prefixes(prefixes, former)
}

fn check_prefixes(prefixes: &[Box<[u8]>], former: Option<&TrackingOptions>) -> CommandResult {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    let error = |one: &[u8], which: &str, other: &[u8]| {
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        Err(CommandError::new(format!(
            "ERR Prefix '{one}' overlaps with {which} prefix '{other}'. Prefixes for a single client must not overlap."
        )))
    };
    for (number, prefix) in prefixes.iter().enumerate() {
        let mut existing = former.iter().flat_map(|former| &former.prefixes);
        if let Some(existing) = existing.find(|existing| overlap(prefix, existing)) {
            return error(prefix, "an existing", existing);
        }
        let mut others = prefixes[number + 1..].iter();
        if let Some(other) = others.find(|other| overlap(prefix, other)) {
            return error(prefix, "another provided", other);
        }
    }
    Ok(())
}

/// `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
pub fn tracking(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (mut options, prefixes) = parse(context, &arguments[3..])?;
    let (services, session) = (context.services, &mut *context.session);
    if arguments[2].eq_ignore_ascii_case(b"ON") {
        let former = services
            .tracking_state(session.id)
            .map(|state| state.options);
        check(&options, &prefixes, former.as_ref())?;
        options.prefixes = prefixes.into_iter().collect();
        services.track(session, options);
    } else if arguments[2].eq_ignore_ascii_case(b"OFF") {
        services.stop_tracking(session);
    } else {
        return Err(CommandError::SYNTAX);
    }
    reply.ok();
    Ok(())
}

/// CLIENT CACHING YES|NO
pub fn caching(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const NOT_TRACKING: CommandError = CommandError::fixed(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    );
    const NOT_OPT_IN: CommandError = CommandError::fixed(
        "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
    );
    const NOT_OPT_OUT: CommandError = CommandError::fixed(
        "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
    );
    let state = context.services.tracking_state(context.session.id);
    let options = state.ok_or(NOT_TRACKING)?.options;
    if arguments[2].eq_ignore_ascii_case(b"YES") {
        if !options.opt_in {
            return Err(NOT_OPT_IN);
        }
    } else if arguments[2].eq_ignore_ascii_case(b"NO") {
        if !options.opt_out {
            return Err(NOT_OPT_OUT);
        }
    } else {
        return Err(CommandError::SYNTAX);
    }
    context.session.caching_given = true;
    reply.ok();
    Ok(())
}

/// CLIENT GETREDIR
pub fn getredir(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let state = context.services.tracking_state(context.session.id);
    reply.integer(state.map_or(-1, |state| state.options.redirect as i64));
    Ok(())
}

/// CLIENT TRACKINGINFO
pub fn trackinginfo(
    context: &mut Context<'_>,
    _: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let state = context.services.tracking_state(context.session.id);
    let given = context.session.caching_given;
    let mut flags = vec![if state.is_some() { "on" } else { "off" }];
    if let Some(state) = &state {
        let options = &state.options;
        let named = [
            (options.broadcast, "bcast"),
            (options.opt_in, "optin"),
            (options.opt_in && given, "caching-yes"),
            (options.opt_out, "optout"),
            (options.opt_out && given, "caching-no"),
            (options.no_loop, "noloop"),
            (state.is_redirect_broken, "broken_redirect"),
        ];
        flags.extend(named.iter().filter(|(on, _)| *on).map(|(_, name)| *name));
    }
    reply.map_header(3);
    reply.bulk(b"flags");
    reply.set_header(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    let redirect = state.as_ref().map(|state| state.options.redirect as i64);
    reply.integer(redirect.unwrap_or(-1));
    reply.bulk(b"prefixes");
    let prefixes = state
        .map(|state| state.options.prefixes)
        .unwrap_or_default();
    reply.array_header(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}
