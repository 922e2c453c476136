//! Reads a send request and checks it as Meta does. Strings are borrowed from the body.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::catalog::GraphError;
use crate::messages::Category;
use crate::recipients;
use crate::templates::Templates;

/// The longest `biz_opaque_callback_data`.
const OPAQUE_MAX: usize = 512;
/// The longest text body, in characters.
const TEXT_MAX: usize = 4096;
const TYPES: &str =
    "{AUDIO, CONTACTS, DOCUMENT, IMAGE, INTERACTIVE, LOCATION, REACTION, STICKER, TEMPLATE, TEXT, VIDEO}";

/// A string that borrows when it has no escapes.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The body of `POST /messages`, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    messaging_product: Option<Text<'a>>,
    recipient_type: Option<Text<'a>>,
    to: Option<Text<'a>>,
    recipient: Option<Text<'a>>,
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    status: Option<Text<'a>>,
    message_id: Option<Text<'a>>,
    biz_opaque_callback_data: Option<Text<'a>>,
    text: Option<TextBody<'a>>,
    template: Option<Template<'a>>,
    audio: Option<Media<'a>>,
    document: Option<Media<'a>>,
    image: Option<Media<'a>>,
    sticker: Option<Media<'a>>,
    video: Option<Media<'a>>,
    contacts: Option<&'a RawValue>,
    location: Option<&'a RawValue>,
    interactive: Option<Interactive<'a>>,
    reaction: Option<Reaction<'a>>,
}

#[derive(Debug, Deserialize)]
struct TextBody<'a> {
    #[serde(borrow)]
    body: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Media<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    link: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Interactive<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    action: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Reaction<'a> {
    #[serde(borrow)]
    message_id: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Template<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    language: Option<Language<'a>>,
    #[serde(default)]
    components: Vec<Component<'a>>,
}

#[derive(Debug, Deserialize)]
struct Language<'a> {
    #[serde(borrow)]
    code: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Component<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(default)]
    parameters: Vec<&'a RawValue>,
}

/// A request that passed.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    /// A message to be sent.
    Send(Send<'a>),
    /// "I have read this", perhaps with a typing indicator.
    MarkRead,
}

/// A message to be sent.
#[derive(Debug)]
pub(crate) struct Send<'a> {
    /// The recipient as the request wrote it.
    pub(crate) input: Cow<'a, str>,
    /// The recipient as the simulator compares it.
    pub(crate) name: String,
    /// What it is charged as.
    pub(crate) category: Category,
    /// `biz_opaque_callback_data`.
    pub(crate) opaque: Option<Cow<'a, str>>,
}

/// Reads and checks a body.
pub(crate) fn check<'a>(bytes: &'a [u8], templates: &Templates) -> Result<Request<'a>, GraphError> {
    let body: Body<'a> = serde_json::from_slice(bytes).map_err(|error| {
        GraphError::parameter(format!("Invalid parameter: the body cannot be read: {error}"))
    })?;
    match &body.messaging_product {
        Some(Text(product)) if product == "whatsapp" => {}
        Some(_) => {
            return Err(GraphError::parameter(
                "Param messaging_product must be one of {WHATSAPP}",
            ));
        }
        None => {
            return Err(GraphError::parameter(
                "The parameter messaging_product is required.",
            ));
        }
    }
    if let Some(Text(status)) = &body.status {
        return mark_read(status, &body);
    }
    let category = check_content(&body, templates)?;
    let (input, name) = recipient(body.recipient_type, body.to, body.recipient)?;
    let opaque = body.biz_opaque_callback_data.map(|Text(data)| data);
    if opaque.as_ref().is_some_and(|data| data.len() > OPAQUE_MAX) {
        return Err(GraphError::parameter(
            "Param biz_opaque_callback_data must be at most 512 characters long.",
        ));
    }
    Ok(Request::Send(Send {
        input,
        name,
        category,
        opaque,
    }))
}

fn mark_read<'a>(status: &str, body: &Body<'_>) -> Result<Request<'a>, GraphError> {
    if status != "read" {
        return Err(GraphError::parameter(format!(
            "Param status must be one of {{READ}} - got \"{status}\"."
        )));
    }
    match &body.message_id {
        Some(Text(id)) if !id.is_empty() => Ok(Request::MarkRead),
        _ => Err(GraphError::parameter("The parameter message_id is required.")),
    }
}

fn recipient<'a>(
    kind: Option<Text<'a>>,
    to: Option<Text<'a>>,
    user: Option<Text<'a>>,
) -> Result<(Cow<'a, str>, String), GraphError> {
    let kind = kind.as_ref().map_or("individual", |Text(kind)| kind);
    if !matches!(kind, "individual" | "group") {
        return Err(GraphError::parameter(
            "Param recipient_type must be one of {INDIVIDUAL, GROUP}",
        ));
    }
    let Some(Text(input)) = to.or(user) else {
        return Err(GraphError::parameter("The parameter to is required."));
    };
    if kind == "group" && !input.is_empty() {
        let name = input.to_string();
        return Ok((input, name));
    }
    let name = recipients::name_of(&input);
    if recipients::is_user_id(&name) || (5..=20).contains(&name.len()) {
        return Ok((input, name));
    }
    Err(GraphError::new(
        131009,
        "Recipient is not a valid phone number or user id.",
    ))
}

fn check_content(body: &Body<'_>, templates: &Templates) -> Result<Category, GraphError> {
    let kind = body
        .kind
        .as_ref()
        .map_or_else(|| implied_kind(body), |Text(kind)| kind);
    let media =
        |media: &Option<Media<'_>>| media.as_ref().is_some_and(|m| m.id.is_some() || m.link.is_some());
    let present = match kind {
        "template" => return check_template(body.template.as_ref(), templates),
        "text" => return check_text(body.text.as_ref()),
        "audio" => media(&body.audio),
        "document" => media(&body.document),
        "image" => media(&body.image),
        "sticker" => media(&body.sticker),
        "video" => media(&body.video),
        "contacts" => body.contacts.is_some(),
        "location" => body.location.is_some(),
        "interactive" => body
            .interactive
            .as_ref()
            .is_some_and(|i| i.kind.is_some() && i.action.is_some()),
        "reaction" => body
            .reaction
            .as_ref()
            .is_some_and(|reaction| reaction.message_id.is_some()),
        _ => {
            let message = format!("Param type must be one of {TYPES} - got \"{kind}\".");
            return Err(GraphError::parameter(message));
        }
    };
    if present {
        Ok(Category::Service)
    } else {
        Err(missing(kind, kind))
    }
}

/// Without `type` Meta assumes text; one of its own examples has none beside an `interactive`.
fn implied_kind(body: &Body<'_>) -> &'static str {
    if body.text.is_none() && body.interactive.is_some() {
        "interactive"
    } else {
        "text"
    }
}

fn check_text(text: Option<&TextBody<'_>>) -> Result<Category, GraphError> {
    let Some(Text(body)) = text
        .and_then(|text| text.body.as_ref())
        .filter(|Text(body)| !body.is_empty())
    else {
        return Err(missing("text['body']", "text"));
    };
    if body.len() > TEXT_MAX && body.chars().count() > TEXT_MAX {
        return Err(GraphError::parameter(
            "Param text['body'] must be at most 4096 characters long.",
        ));
    }
    Ok(Category::Service)
}

fn check_template(template: Option<&Template<'_>>, templates: &Templates) -> Result<Category, GraphError> {
    let template = template.ok_or_else(|| missing("template", "template"))?;
    let given = |text: Option<&Text<'_>>| text.is_some_and(|Text(text)| !text.is_empty());
    let language = template
        .language
        .as_ref()
        .and_then(|language| language.code.as_ref());
    let (Some(Text(name)), Some(Text(code))) = (&template.name, language) else {
        let parameter = if template.name.is_none() {
            "template['name']"
        } else {
            "template['language']['code']"
        };
        return Err(missing(parameter, "template"));
    };
    if !given(template.name.as_ref()) || !given(language) {
        return Err(missing("template['name']", "template"));
    }
    let is_body = |component: &&Component<'_>| {
        component
            .kind
            .as_ref()
            .is_some_and(|Text(kind)| kind.eq_ignore_ascii_case("body"))
    };
    let parameters = template
        .components
        .iter()
        .filter(is_body)
        .map(|body| body.parameters.len())
        .sum();
    templates.check(name, code, parameters)
}

fn missing(parameter: &str, kind: &str) -> GraphError {
    GraphError::new(
        131008,
        format!("Parameter '{parameter}' is mandatory for type '{kind}'"),
    )
}
