/// Every field of a manifest. The table drives reading, "did you mean", the JSON Schema, and the test that holds
/// `Configs/reference.json5` to it. Nothing that is not in it is accepted.
package enum FieldTable {
    /// All fields from the root, in the order of the documentation; a service's name is `*`.
    package static var descriptions: [FieldDescription] { root.descriptions }

    /// The root of a manifest while it is read: `defaults` must be known before `services`, whatever their order.
    struct Draft: Sendable {
        var supd = DaemonSettings()
        var portRange: Location?
        var balancerUser: Location?
        var webListen: Located<ListenAddress>?
        var webActions: Located<String>?
        var defaults: JSON5Value?
        var services: JSON5Value?
        var hooks: [Hook] = []
    }

    /// The root.
    static let root = Section<Draft>([
        Field("supd", section: daemon, inDefaults: false, "The daemon's own settings."),
        Field(
            "hooks", hooksFormat, inDefaults: false, children: hookSection.descriptions,
            "Commands that run when something happens to an instance, to send a mail or a message. Without it none."
        ) { $1.hooks = $0 },
        Field("defaults", sectionFormat("defaults"), "Fields that are merged under every service.") {
            $1.defaults = $0
        },
        Field(
            "services", servicesFormat, required: true,
            children: service.descriptions.map { field in
                var field = field
                field.path.insert("*", at: 0)
                return field
            },
            "The services, each under its name."
        ) { $1.services = $0 },
    ])

    /// The `supd` section.
    private static let daemon = Section<Draft>([
        Field(
            "portRange", Format.portRange.located, default: "20000-29999",
            "Loopback ports for instances without a fixed port; keep it outside net.ipv4.ip_local_port_range."
        ) {
            $1.supd.portRange = $0.value
            $1.portRange = $0.location
        },
        Field(
            "balancer",
            section: Section<Draft>([
                Field(
                    "loops", .integer(1...64),
                    "How many event loops the balancer runs; without it one per core, at most four."
                ) { $1.supd.balancer.loops = $0 },
                Field(
                    "user", Format.account("user").located,
                    "Whom the balancer runs as when supd is root; without it the user supd, else an unused uid."
                ) {
                    $1.supd.balancer.user = $0.value
                    $1.balancerUser = $0.location
                },
            ]), "The built-in load balancer."),
        Field(
            "web", webFormat, inDefaults: false, children: webSection.descriptions,
            "A page that shows what happens, for a browser. Without it there is none."
        ) {
            guard let listen = $0.listen else { return }
            $1.supd.web = WebSettings(listen: listen.value, hosts: $0.hosts, actions: $0.actions?.value)
            $1.webListen = listen
            $1.webActions = $0.actions
        },
    ])

    /// A map that is kept as it is and read later.
    private static func sectionFormat(_ definition: String) -> Format<JSON5Value> {
        Format(expected: "a map", schema: .members(["$ref": .string("#/$defs/\(definition)")])) { value, _ in value }
    }

    private static let servicesFormat = Format<JSON5Value>(
        expected: "a map of services",
        schema: .members([
            "type": "object", "maxProperties": .integer(ManifestLoader.maximumServices),
            "propertyNames": .members(["pattern": "^(?!all$)[a-z][a-z0-9-]{0,62}$"]),
            "additionalProperties": .members(["$ref": "#/$defs/service"]),
        ])
    ) { value, _ in value }

    /// What `defaults` may hold: all that makes sense for more than one service.
    static let defaults = Section<ServiceDraft>(
        service.fields.filter(\.inDefaults),
        misplaced: Dictionary(
            uniqueKeysWithValues: service.fields.filter { !$0.inDefaults }
                .map { ($0.name, "in each service, because it is never the same for all") }))

    /// A service.
    static let service = Section<ServiceDraft>(processFields + networkFields + lifeFields + limitFields)
}
