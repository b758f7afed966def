//! Real handshakes over an in-memory pipe: who is let in, and as whom.

use std::io;

use meadow_model::{Fingerprint, Name};
use meadow_pki::{Ca, CaPin, Identity, Peer, PeerClassifier, Role, SERVER_NAME, client_config, server_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn name(text: &str) -> Name {
    Name::new(text).expect("valid")
}

/// Shakes hands and says as whom the server knows the client.
async fn handshake(ca: &Ca, server: &Identity, pin: Fingerprint, client: Option<&Identity>) -> io::Result<Peer> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let acceptor = TlsAcceptor::from(server_config(server).expect("server"));
    let connector = TlsConnector::from(client_config(&CaPin(pin), client).expect("client"));
    let name = SERVER_NAME.try_into().expect("name");
    let serve = async {
        let mut stream = acceptor.accept(far).await?;
        stream.write_all(b"x").await?;
        let classifier = PeerClassifier::new(ca).expect("classifier");
        Ok::<_, io::Error>(classifier.classify(stream.get_ref().1.peer_certificates()).expect("peer"))
    };
    let ask = async {
        let mut stream = connector.connect(name, near).await?;
        stream.read_u8().await
    };
    let (served, asked) = tokio::join!(serve, ask);
    asked?;
    served
}

#[tokio::test]
async fn members_are_known_by_name_and_role_and_others_by_key() {
    let ca = Ca::generate(&name("home")).expect("ca");
    let server = ca.issue(&name("seed"), Role::Voter).expect("server");
    let admin = ca.issue(&name("ann"), Role::Admin).expect("admin");
    let machine = Identity::generate().expect("machine");
    let pin = ca.fingerprint();
    let expected = Peer::Member { name: name("ann"), role: Role::Admin, key: admin.public_key() };
    assert_eq!(handshake(&ca, &server, pin, Some(&admin)).await.expect("admin"), expected);
    let key = handshake(&ca, &server, pin, Some(&machine)).await.expect("machine");
    assert_eq!(key, Peer::Key(machine.public_key()));
    assert_eq!(handshake(&ca, &server, pin, None).await.expect("anonymous"), Peer::Anonymous);
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_only_a_key() {
    let (ca, foreign) = (Ca::generate(&name("home")).expect("ca"), Ca::generate(&name("home")).expect("ca"));
    let server = ca.issue(&name("seed"), Role::Voter).expect("server");
    let intruder = foreign.issue(&name("ann"), Role::Admin).expect("admin");
    let peer = handshake(&ca, &server, ca.fingerprint(), Some(&intruder)).await.expect("handshake");
    assert_eq!(peer, Peer::Key(intruder.public_key()));
}

#[tokio::test]
async fn servers_outside_the_pinned_cluster_and_mere_nodes_are_refused() {
    let (ca, foreign) = (Ca::generate(&name("home")).expect("ca"), Ca::generate(&name("home")).expect("ca"));
    let impostor = foreign.issue(&name("seed"), Role::Voter).expect("server");
    assert!(handshake(&foreign, &impostor, ca.fingerprint(), None).await.is_err());
    let node = ca.issue(&name("node-1"), Role::Node).expect("node");
    assert!(handshake(&ca, &node, ca.fingerprint(), None).await.is_err());
}
