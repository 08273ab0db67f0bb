/// The `supd.web` section: a page that shows what happens.
package struct WebSettings: Sendable, Hashable, Codable {
    /// The most names of `hosts`.
    package static let mostHosts = 20

    /// Where the page is served; never a Unix socket.
    package var listen: ListenAddress
    /// The names, beside the address itself and localhost, under which browsers may ask for the page; lower case.
    package var hosts: [String]
    /// The absolute path of a file with the token by which the page may also change something; nil: it only shows.
    package var actions: String?

    /// Creates settings.
    package init(listen: ListenAddress, hosts: [String] = [], actions: String? = nil) {
        self.listen = listen
        self.hosts = hosts
        self.actions = actions
    }
}

/// The section while it is read.
struct WebDraft: Sendable {
    var listen: Located<ListenAddress>?
    var hosts: [String] = []
    var actions: Located<String>?
}

extension FieldTable {
    /// The section.
    static let webSection = Section<WebDraft>([
        Field(
            "listen", webAddress, required: true, inDefaults: false,
            "Where browsers find the page: a port is for this machine alone. It has no TLS, and whoever reaches the address "
                + "may read all that it shows."
        ) { $1.listen = $0 },
        Field(
            "hosts", .list(of: hostName, "names", count: 0...WebSettings.mostHosts), inDefaults: false,
            "Further names that browsers may use for it, as behind a reverse proxy. Without it only localhost and the address "
                + "itself, so that no page of a stranger's can have its own name lead here."
        ) { $1.hosts = $0 },
        Field(
            "actions", Format.path("the path of a file with a token").located, inDefaults: false,
            "A file with a token of 16 to 256 letters, which nobody but its owner may read: who has the token may start, stop, "
                + "restart, scale and roll back from the page. Without it the page only shows."
        ) { $1.actions = $0 },
    ])

    /// The section in its place.
    static let webFormat = Format<WebDraft>(
        expected: "a map like { listen: 9300 }", schema: webSection.schema
    ) { value, reader in
        var draft = WebDraft()
        webSection.read(value, into: &draft, &reader)
        return draft
    }

    private static let webAddress: Format<Located<ListenAddress>> = {
        let expected = "a port like 9300 (loopback only), \"192.168.1.5:9300\" or \"[::]:9300\""
        let schema = JSONText.members([
            "anyOf": [
                .members(["type": "integer", "minimum": 1, "maximum": 65535]),
                .members([
                    "type": "string", "pattern": "^([0-9.]+:[0-9]{1,5}|\\[[0-9a-fA-F:.]+\\]:[0-9]{1,5})$",
                ]),
            ]
        ])
        let any = Format<ListenAddress>.listenAddress
        return Format<ListenAddress>(expected: expected, schema: schema) { value, reader in
            guard let address = any.read(value, &reader) else { return nil }
            if case .unix = address {
                reader.report(value, expected: "\(expected): browsers know no Unix sockets")
                return nil
            }
            return address
        }.located
    }()

    private static let hostName = Format<String>.text(
        "a host name like \"home.example\"", pattern: "^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", maximum: 253
    ) { text in
        text.utf8.allSatisfy { isDigit($0) || $0 == 0x2D || $0 == 0x2E || (0x61...0x7A).contains($0 | 0x20) }
            && text.utf8.first != 0x2D && text.utf8.first != 0x2E && text.utf8.last != 0x2D && text.utf8.last != 0x2E
    }.map { text, _, _ in text.lowercased() }
}

extension ListenAddress {
    /// Whether this machine alone can reach it.
    package var isLoopback: Bool {
        switch self {
        case .loopback, .unix: true
        case .ipv4(let address, _): address.hasPrefix("127.")
        case .ipv6(let address, _): address == "::1"
        }
    }
}

extension ManifestWarnings {
    /// A page that others may read is allowed, but seldom meant.
    func warnOfWeb(_ reader: inout FieldReader) {
        guard let listen = root.webListen, !listen.value.isLoopback else { return }
        reader.warnings.add(
            listen.location,
            "can be reached from other machines: whoever does may read the page, with its logs, and there is no TLS; let it "
                + "listen on loopback behind a reverse proxy that asks for a password, or make sure who is in that network"
        )
    }
}
