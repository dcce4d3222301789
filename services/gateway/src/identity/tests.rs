use super::*;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

fn identity() -> Identity {
    Identity::new(&Secret::new("a secret of the tests"))
}

fn token(header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let mac = identity().secret.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

#[test]
fn a_minted_token_names_its_buyer_until_it_ends() {
    let alice = "alice".parse().unwrap();
    let token = identity().mint(&alice, NOW, 60);
    assert_eq!(identity().buyer(&token, NOW), Some(alice));
    assert_eq!(identity().buyer(&token, NOW.plus(60_000)), None, "its end is not part of its life");
    let other = Identity::new(&Secret::new("another secret of tests"));
    assert_eq!(other.buyer(&token, NOW), None);
}

#[test]
fn other_writings_of_the_header_pass_and_other_algorithms_do_not() {
    let payload = r#"{"sub":"a","exp":1790000060.5,"iat":1,"aud":["x"]}"#;
    for good in [r#"{"alg":"HS256"}"#, r#"{ "typ":"JWT", "alg":"HS256", "kid":"1" }"#] {
        assert!(identity().buyer(&token(good, payload), NOW).is_some(), "{good}");
    }
    let bad = [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        "[]",
        "",
    ];
    for bad in bad {
        assert_eq!(identity().buyer(&token(bad, payload), NOW), None, "{bad}");
    }
    let unsigned = token(r#"{"alg":"none"}"#, payload);
    let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
    assert_eq!(identity().buyer(unsigned, NOW), None);
}

#[test]
fn a_payload_needs_a_proper_sub_and_a_future_exp() {
    let usual = r#"{"alg":"HS256","typ":"JWT"}"#;
    for bad in [
        r#"{"sub":"a"}"#,
        r#"{"exp":1790000060}"#,
        r#"{"sub":"a","exp":"1790000060"}"#,
        r#"{"sub":"a","exp":1789999999}"#,
        r#"{"sub":"A b","exp":1790000060}"#,
        r#"{"sub":7,"exp":1790000060}"#,
        r#"{"sub":"a","exp":1790000060,"nbf":1790000030}"#,
        r#"{"sub":"a","exp":null}"#,
        "not json",
    ] {
        assert_eq!(identity().buyer(&token(usual, bad), NOW), None, "{bad}");
    }
}

#[test]
fn a_claim_that_nobody_reads_may_be_any_json() {
    let usual = r#"{"alg":"HS256","typ":"JWT"}"#;
    for other in ["1e400", r#""\ud800""#, "[[],{}]"] {
        let payload = format!(r#"{{"sub":"a","exp":1790000060,"other":{other}}}"#);
        assert_eq!(identity().buyer(&token(usual, &payload), NOW), "a".parse().ok(), "{other}");
    }
}

#[test]
fn no_single_changed_character_passes() {
    let token = identity().mint(&"alice".parse().unwrap(), NOW, 60);
    for at in 0..token.len() {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert_eq!(identity().buyer(&forged, NOW), None, "character {at}");
    }
}

/// An identity provider for tests: a key of each kind, and the set that shows their public halves.
mod provider {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::Mutex;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use service_kit::health::Health;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    struct Idp(Ed25519KeyPair, EcdsaKeyPair, SystemRandom);

    impl Idp {
        fn new() -> Self {
            let random = SystemRandom::new();
            let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let ec =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap();
            Self(Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(), ec, random)
        }

        fn set(&self) -> String {
            let point = self.1.public_key().as_ref();
            let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
            let ed = b64(self.0.public_key().as_ref());
            format!(
                r#"{{"keys":[
                    {{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"{ed}"}},
                    {{"kty":"EC","crv":"P-256","kid":"ec","use":"sig","alg":"ES256","x":"{x}","y":"{y}"}},
                    {{"kty":"EC","crv":"P-256","kid":"for-encryption","use":"enc","x":"{x}","y":"{y}"}},
                    {{"kty":"EC","crv":"P-256","kid":"lies","alg":"RS256","x":"{x}","y":"{y}"}},
                    {{"kty":"oct","kid":"shared","k":"c2VjcmV0"}},
                    {{"odd":true}}
                ]}}"#
            )
        }

        fn identity(&self) -> Identity {
            self.expecting(Expected::default())
        }

        fn expecting(&self, expected: Expected) -> Identity {
            let source: JwksSource = "/nowhere".parse().unwrap();
            let identity = identity().with_provider(source, expected, Duration::from_secs(1));
            let keys = Jwks::parse(self.set().as_bytes()).unwrap();
            identity.provider.as_ref().unwrap().keys.store(Arc::new(keys));
            identity
        }

        /// A token with this header, signed by the key that `by` names.
        fn token(&self, header: &str, by: &str) -> String {
            self.saying(r#"{"sub":"alice","exp":1790000060}"#, header, by)
        }

        fn saying(&self, payload: &str, header: &str, by: &str) -> String {
            let signed = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
            let signature = match by {
                "ed" => self.0.sign(signed.as_bytes()).as_ref().to_vec(),
                _ => self.1.sign(&self.2, signed.as_bytes()).unwrap().as_ref().to_vec(),
            };
            format!("{signed}.{}", b64(&signature))
        }
    }

    #[test]
    fn a_token_that_the_provider_made_for_another_application_buys_nothing() {
        let idp = Idp::new();
        let expected = Expected { issuer: Some("https://id".into()), audience: Some("shop".into()) };
        let identity = idp.expecting(expected);
        let buyer = |more: &str| {
            let payload = format!(r#"{{"sub":"alice","exp":1790000060{more}}}"#);
            identity.buyer(&idp.saying(&payload, r#"{"alg":"EdDSA","kid":"ed"}"#, "ed"), NOW)
        };
        for good in [r#","iss":"https://id","aud":"shop""#, r#","iss":"https://id","aud":["wiki","shop"]"#] {
            assert!(buyer(good).is_some(), "{good}");
        }
        for bad in [
            "",
            r#","iss":"https://id""#,
            r#","aud":"shop""#,
            r#","iss":"https://other","aud":"shop""#,
            r#","iss":"https://id","aud":"wiki""#,
            r#","iss":"https://id","aud":["wiki"]"#,
            r#","iss":"https://id","aud":7"#,
        ] {
            assert_eq!(buyer(bad), None, "{bad}");
        }
        let ours = identity.mint(&"alice".parse().unwrap(), NOW, 60);
        assert!(identity.buyer(&ours, NOW).is_some(), "our own secret signs for nobody else");
    }

    #[test]
    fn a_providers_token_names_its_buyer_and_so_does_our_own() {
        let idp = Idp::new();
        let identity = idp.identity();
        for (header, by) in [
            (r#"{"alg":"EdDSA","kid":"ed"}"#, "ed"),
            (r#"{"alg":"ES256","kid":"ec","typ":"JWT"}"#, "ec"),
            (r#"{"alg":"EdDSA"}"#, "ed"),
        ] {
            assert_eq!(
                identity.buyer(&idp.token(header, by), NOW),
                Some("alice".parse().unwrap()),
                "{header}"
            );
        }
        let own = identity.mint(&"bob".parse().unwrap(), NOW, 60);
        assert_eq!(identity.buyer(&own, NOW), Some("bob".parse().unwrap()));
    }

    #[test]
    fn a_keys_algorithm_is_its_own_whatever_the_header_wishes() {
        let idp = Idp::new();
        let identity = idp.identity();
        for (header, by) in [
            (r#"{"alg":"ES256","kid":"ed"}"#, "ed"),
            (r#"{"alg":"RS256","kid":"ec"}"#, "ec"),
            (r#"{"alg":"RS256","kid":"lies"}"#, "ec"),
            (r#"{"alg":"ES256","kid":"lies"}"#, "ec"),
            (r#"{"alg":"ES256","kid":"for-encryption"}"#, "ec"),
            (r#"{"alg":"ES256","kid":"unknown"}"#, "ec"),
            (r#"{"alg":"EdDSA","kid":"ec"}"#, "ec"),
            (r#"{"alg":"none","kid":"ed"}"#, "ed"),
            (r#"{"alg":"EdDSA","kid":"ed","crit":["x"]}"#, "ed"),
            (r#"{"alg":"HS256","kid":"ed"}"#, "ed"),
        ] {
            assert_eq!(identity.buyer(&idp.token(header, by), NOW), None, "{header}");
        }
        // The old confusion: a public key used as a secret.
        let point = idp.0.public_key().as_ref().to_vec();
        for secret in [b64(&point).into_bytes(), point, b"secret".to_vec(), idp.set().into_bytes()] {
            let signed = format!(
                "{}.{}",
                b64(br#"{"alg":"HS256","kid":"ed"}"#),
                b64(br#"{"sub":"alice","exp":1790000060}"#)
            );
            let mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap().chain_update(&signed).finalize();
            let forged = format!("{signed}.{}", b64(&mac.into_bytes()));
            assert_eq!(identity.buyer(&forged, NOW), None);
        }
    }

    #[test]
    fn a_providers_token_does_not_survive_a_changed_character() {
        let idp = Idp::new();
        let identity = idp.identity();
        let token = idp.token(r#"{"alg":"EdDSA","kid":"ed"}"#, "ed");
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(identity.buyer(&forged, NOW), None, "character {at}");
        }
    }

    #[test]
    fn an_rsa_key_of_rfc_7515_verifies_its_example() {
        let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
        let set = format!(r#"{{"keys":[{{"kty":"RSA","kid":"r","n":"{n}","e":"AQAB"}}]}}"#);
        let keys = Jwks::parse(set.as_bytes()).unwrap();
        let signed = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(keys.verify("RS256", Some("r"), signed.as_bytes(), &signature));
        assert!(!keys.verify("RS512", Some("r"), signed.as_bytes(), &signature));
        assert!(!keys.verify("RS256", Some("r"), b"other", &signature));
    }

    /// An identity provider's page: what it shows, if it answers, and how often it was asked in vain.
    #[derive(Default)]
    struct Page {
        shows: Mutex<Option<String>>,
        in_vain: AtomicUsize,
    }

    impl Page {
        async fn serve(self: Arc<Self>) -> JwksSource {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/keys", listener.local_addr().unwrap());
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = stream.read(&mut [0; 1024]).await;
                    let answer = match &*self.shows.lock() {
                        Some(set) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len()),
                        None => {
                            self.in_vain.fetch_add(1, Ordering::SeqCst);
                            "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_owned()
                        }
                    };
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
            url.parse().unwrap()
        }
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect(what);
    }

    #[tokio::test]
    async fn keys_follow_their_source_and_old_ones_serve_while_it_does_not_answer() {
        let (old, new, page) = (Idp::new(), Idp::new(), Arc::<Page>::default());
        let source = page.clone().serve().await;
        let identity = identity().with_provider(source, Expected::default(), Duration::from_millis(20));
        let health = Health::default();
        let keeping =
            tokio::spawn(crate::identity::provider::keep(identity.provider().unwrap(), health.clone()));
        let knows =
            |idp: &Idp| identity.buyer(&idp.token(r#"{"alg":"EdDSA","kid":"ed"}"#, "ed"), NOW).is_some();
        until("a look in vain", || page.in_vain.load(Ordering::SeqCst) > 0).await;
        assert!(!health.is_ready(), "without any key nobody can be let in");
        *page.shows.lock() = Some(old.set());
        until("the keys", || knows(&old)).await;
        assert!(health.is_ready());
        *page.shows.lock() = Some(new.set());
        until("the new keys", || knows(&new)).await;
        assert!(!knows(&old), "a key that was taken away opens nothing");
        let before = page.in_vain.load(Ordering::SeqCst);
        *page.shows.lock() = None;
        // When it is asked for the second time, the first answer has been understood.
        until("two looks in vain", || page.in_vain.load(Ordering::SeqCst) >= before + 2).await;
        assert!(knows(&new) && health.is_ready());
        keeping.abort();
    }

    #[test]
    fn a_set_is_bounded_and_must_have_a_key() {
        for empty in [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#] {
            assert_eq!(Jwks::parse(empty.as_bytes()).err(), Some(JwksError::Empty));
        }
        assert!(matches!(Jwks::parse(b"[]").err(), Some(JwksError::Shape(_))));
        assert_eq!(Jwks::parse(&vec![b' '; 100_000]).err(), Some(JwksError::TooLarge));
    }
}
