//! One tenant's key on another tenant's objects: 404, and not a word about them. Driven by the API's own document, so that a route
//! which takes an id and has no case here fails the test.

use bytes::Bytes;
use hyper::Method;
use malote::storage::{Database, Role};
use malote::trial::{Client, Installation, PlanChoice, Tenant, eventually};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, start};

/// What stands in everything of the first tenant that has room for words.
const MARK: &str = "aurora";

/// What the first tenant has.
struct Belongings {
    tenant: Tenant,
    campaign: String,
    message: String,
    letter: String,
    invoice: String,
    account: String,
}

const RECIPIENT: &str = "+351914444444";

impl Belongings {
    async fn of(installation: &Installation) -> Self {
        let tenant = Tenant::create(installation, MARK, PlanChoice::FREE, 80)
            .await
            .expect("it succeeds");
        tenant
            .api
            .post("/v1/templates/sync", &json!({}))
            .await
            .expect("it succeeds");
        let mut campaign = String::new();
        for number in 0..2 {
            campaign = tenant
                .draft(&format!("{MARK} {number}"))
                .await
                .expect("it succeeds");
            let rows = format!("recipient,name\n{RECIPIENT},{MARK}\n+351914444445,{MARK}\n");
            tenant.upload(&campaign, rows).await.expect("it succeeds");
            let put = format!("/v1/suppressions/+35191333333{number}");
            tenant
                .api
                .put(&put, &json!({"reason": MARK}))
                .await
                .expect("it succeeds");
        }
        let message = message(&tenant, RECIPIENT).await;
        Self {
            letter: letter(installation, &tenant).await,
            invoice: invoice(installation, &tenant).await,
            account: format!("9{}", tenant.phone_number_id),
            message,
            campaign,
            tenant,
        }
    }

    /// What no answer to anybody else may contain.
    fn secrets(&self) -> [&str; 7] {
        [
            MARK,
            &self.letter,
            &self.campaign,
            &self.message,
            &self.invoice,
            &self.tenant.sender,
            &self.account,
        ]
    }

    /// What the tenant sees of its own.
    async fn seen(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        for path in [
            "campaigns",
            "senders",
            "suppressions",
            "templates",
            "dead-letters",
        ] {
            seen.push(
                self.tenant
                    .api
                    .get(&format!("/v1/{path}"))
                    .await
                    .expect("it succeeds"),
            );
        }
        seen
    }
}

/// Sends a message, and waits for it to be in the ledger.
async fn message(tenant: &Tenant, to: &str) -> String {
    let text = json!({"sender_id": tenant.sender, "to": to,
        "template": {"name": "hello_world", "language": "en_US"}});
    let sent = tenant.api.post("/v1/messages", &text).await.expect("it succeeds");
    eventually("the message is in the ledger", SOON, || async {
        let ledger = tenant.api.get("/v1/ledger").await?;
        Ok((!ledger["items"].as_array().expect("a list").is_empty()).then_some(()))
    })
    .await
    .expect("it succeeds");
    sent["id"].as_str().expect("text").to_owned()
}

/// Lets a message fail until it is given up.
async fn letter(installation: &Installation, tenant: &Tenant) -> String {
    let faults = simulator::faults::Faults {
        transient_error_share: 1.0,
        ..simulator::faults::Faults::default()
    };
    installation.simulator.set_faults(faults);
    let doomed = json!({"sender_id": tenant.sender, "to": "+351914444446",
        "template": {"name": "hello_world", "language": "en_US"}});
    tenant
        .api
        .post("/v1/messages", &doomed)
        .await
        .expect("it succeeds");
    let letter = eventually("the message is given up", SOON, || async {
        let letters = tenant.api.get("/v1/dead-letters").await?;
        Ok(letters["items"][0]["id"].as_str().map(str::to_owned))
    })
    .await
    .expect("it succeeds");
    installation
        .simulator
        .set_faults(simulator::faults::Faults::default());
    letter
}

/// Closes a period, as the end of a month would.
async fn invoice(installation: &Installation, tenant: &Tenant) -> String {
    let database = Database::connect(&installation.config().database, Role::MigrationAdmin)
        .await
        .expect("it succeeds");
    let made = "INSERT INTO app.invoices (id, tenant_id, period, state, currency, total_minor, lines, cut_seq, cut_hash, rating_version)
        SELECT gen_random_uuid(), tenant_id, number, 'final', 'EUR', 0, '[]', 1, '', 1 FROM app.billing_periods WHERE tenant_id = $1
        RETURNING id::text";
    let mut connection = database.get().await.expect("it succeeds");
    let row = connection
        .query_one(made, &[&tenant.id.0])
        .await
        .expect("it succeeds");
    row.get(0)
}

/// What the other tenant asks for, and what it must be told.
struct Case {
    path: String,
    form: &'static str,
    body: String,
    is_answered: bool,
}

fn refused(path: String, body: &Value) -> Case {
    Case {
        path,
        form: "application/json",
        body: body.to_string(),
        is_answered: false,
    }
}

/// The request succeeds and does nothing to the first tenant.
fn answered(path: &str, body: &Value) -> Case {
    Case {
        is_answered: true,
        ..refused(path.to_owned(), body)
    }
}

/// Says how the other tenant tries an operation that takes ids.
fn cases(operation: &str, of: &Belongings) -> Vec<Case> {
    let (_, path) = operation.split_once(' ').expect("a verb and a path");
    let campaign = path.replace("{id}", &of.campaign);
    let nothing = json!({});
    let template = json!({"name": "order_update", "language": "en_US"});
    match operation {
        "POST /v1/campaigns" => {
            let body = json!({"name": "mine", "sender_id": of.tenant.sender, "template": template});
            vec![refused(campaign, &body)]
        }
        "POST /v1/campaigns/{id}/recipients" => vec![Case {
            form: "text/csv",
            body: "recipient,name\n+351912222222,Eve\n".to_owned(),
            ..refused(campaign, &nothing)
        }],
        "POST /v1/campaigns/{id}/test" => {
            let body = json!({"to": "+351912222222", "values": {"name": "Eve"}});
            vec![refused(campaign, &body)]
        }
        _ if path.starts_with("/v1/campaigns/{id}") => vec![refused(campaign, &nothing)],
        "GET /v1/messages" => vec![
            answered(&format!("{path}?campaign_id={}", of.campaign), &nothing),
            answered(&format!("{path}?recipient=%2B{}", &RECIPIENT[1..]), &nothing),
        ],
        "POST /v1/messages" => {
            let body = json!({"sender_id": of.tenant.sender, "to": "+351912222222", "template": template});
            vec![refused(campaign, &body)]
        }
        "GET /v1/messages/{id}" => vec![refused(path.replace("{id}", &of.message), &nothing)],
        "GET /v1/dead-letters" => vec![answered(&format!("{path}?campaign_id={}", of.campaign), &nothing)],
        "GET /v1/dead-letters/{id}" => vec![refused(path.replace("{id}", &of.letter), &nothing)],
        "POST /v1/dead-letters/replay" => vec![
            refused(campaign, &json!({"campaign_id": of.campaign})),
            answered(path, &json!({"ids": [of.letter]})),
        ],
        "POST /v1/dead-letters/purge" => vec![
            answered(path, &json!({"campaign_id": of.campaign, "reason": "mine"})),
            answered(path, &json!({"ids": [of.letter], "reason": "mine"})),
        ],
        "POST /v1/messages/unknown/settle" => vec![
            answered(path, &json!({"campaign_id": of.campaign, "action": "fail"})),
            answered(path, &json!({"ids": [of.message], "action": "resend"})),
        ],
        "PATCH /v1/senders/{id}" => {
            let body = json!({"messages_per_second": 1});
            vec![refused(path.replace("{id}", &of.tenant.sender), &body)]
        }
        "POST /v1/templates/sync" => vec![refused(campaign, &json!({"waba_id": of.account}))],
        "DELETE /v1/suppressions/{recipient}" => {
            vec![refused(path.replace("{recipient}", "+351913333330"), &nothing)]
        }
        // A recipient is nobody's: each tenant has a list of its own.
        "PUT /v1/suppressions/{recipient}" => {
            let own = path.replace("{recipient}", "+351913333331");
            vec![answered(&own, &json!({"reason": "my own"}))]
        }
        // The period that both have: each sees rows of its own.
        "GET /v1/ledger/export" => vec![answered(&format!("{path}?period=1"), &nothing)],
        "GET /v1/invoices/{id}" => vec![refused(path.replace("{id}", &of.invoice), &nothing)],
        _ => panic!("{operation} takes an id: say here how another tenant's is tried"),
    }
}

/// Tells whether an operation names something beside cursors: by an id in its path, its query or its body, or by what it cannot do without.
fn takes_ids(operation: &Value, path: &str, document: &Value) -> bool {
    let is_id = |schema: &Value| schema.to_string().contains("\"uuid\"");
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let mut queries = parameters.filter(|one| one["in"] == "query" && one["name"] != "cursor");
    let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let schema = body.as_str().and_then(|name| name.rsplit('/').next());
    let body = schema.map(|name| &document["components"]["schemas"][name]);
    let names = |one: &Value| is_id(&one["schema"]) || one["required"] == true;
    path.contains('{') || queries.any(names) || body.is_some_and(is_id)
}

async fn call(client: &Client, verb: &str, case: &Case) -> (u16, String) {
    let method = Method::from_bytes(verb.to_uppercase().as_bytes()).expect("it succeeds");
    let body = if method == Method::GET {
        Bytes::new()
    } else {
        case.body.clone().into()
    };
    let (status, body) = client
        .raw(method, &case.path, case.form, body)
        .await
        .expect("it succeeds");
    (status.as_u16(), String::from_utf8_lossy(&body).into_owned())
}

fn check(operation: &str, case: &Case, (status, text): &(u16, String), of: &Belongings) {
    let path = &case.path;
    if case.is_answered {
        assert!((200..300).contains(status), "{operation} {path}: {status} {text}");
    } else {
        assert_eq!(*status, 404, "{operation} {path}: {text}");
        assert!(text.contains("\"not_found\""), "{operation} {path}: {text}");
    }
    for secret in of.secrets() {
        assert!(
            !text.contains(secret),
            "{operation} {path} tells {secret:?}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_shows_or_changes_what_is_another_tenants() {
    let quick = [("MALOTE_PIPELINE__RETRY_FIRST_DELAY_MS", "20")];
    let installation = start("isolation", Config::for_tests(), &quick).await;
    let of = Belongings::of(&installation).await;
    let other = Tenant::create(&installation, "other", PlanChoice::FREE, 80)
        .await
        .unwrap();
    message(&other, "+351914444447").await;
    let document = installation.public.get("/openapi.json").await.unwrap();
    let before = of.seen().await;
    let (mut tried, mut cursors) = (0, 0);
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap() {
            if !path.starts_with("/v1/") {
                continue;
            }
            let name = format!("{} {path}", verb.to_uppercase());
            let mut wanted = Vec::new();
            if takes_ids(operation, path, &document) {
                wanted.extend(cases(&name, &of));
            } else if verb == "get" {
                wanted.push(answered(path, &json!({})));
            }
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            if parameters.clone().any(|one| one["name"] == "cursor") {
                let own = of.tenant.api.get(&format!("{path}?limit=1")).await.unwrap();
                let cursor = own["next_cursor"].as_str().unwrap_or(&of.message).to_owned();
                cursors += usize::from(own["next_cursor"].is_string());
                let cursor = if path == "/v1/ledger" {
                    "2".to_owned()
                } else {
                    cursor.replace('+', "%2B")
                };
                let limited = format!("{path}?limit=200&cursor={cursor}");
                if !path.contains('{') && (path != "/v1/suppressions" || own["next_cursor"].is_string()) {
                    wanted.push(answered(&limited, &json!({})));
                }
            }
            for case in wanted {
                let said = call(&other.api, verb, &case).await;
                check(&name, &case, &said, &of);
                tried += 1;
            }
        }
    }
    println!(
        "tried {tried} requests on another tenant's objects, {cursors} with another tenant's own cursor"
    );
    assert!(tried >= 30 && cursors >= 3, "{tried} {cursors}");
    assert_eq!(of.seen().await, before, "something was changed");
    installation.stop().await.unwrap();
}
