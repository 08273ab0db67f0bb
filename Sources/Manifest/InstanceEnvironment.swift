/// The variables that tell a service where the others are: for each other service its `NAME_ADDRESS`, `NAME_HOST` and
/// `NAME_PORT`, of its first TCP front, else of its fixed port; `NAME_ADDRESS=unix:/path` alone for one that has a Unix
/// front alone; nothing for one that has neither. NAME is upper case with `_` for `-`.
package func addressEnvironment(for service: Service, in manifest: Manifest) -> [(name: String, value: String)] {
    manifest.services.flatMap { $0.name == service.name ? [] : addressVariables(of: $0) }
}

/// What other services are told of one.
package func addressVariables(of service: Service) -> [(name: String, value: String)] {
    let name = service.name.uppercased().replacing("-", with: "_")
    let front = service.listen.lazy.compactMap(\.reachable).first
    if let (host, port) = front ?? service.port.map({ ("127.0.0.1", $0) }) {
        let address = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
        return [("\(name)_ADDRESS", address), ("\(name)_HOST", host), ("\(name)_PORT", "\(port)")]
    }
    return service.listen.first.map { [("\(name)_ADDRESS", "\($0)")] } ?? []
}

/// The value of a variable for one instance: `service.directory.expanded(templateValues(…))`.
package func templateValues(
    service: String, instance: Int, port: UInt16
) -> @Sendable (Template.Variable) -> String {
    { variable in
        switch variable {
        case .port: "\(port)"
        case .host: "127.0.0.1"
        case .instance: "\(instance)"
        case .service: service
        }
    }
}

/// The environment of one instance, sorted by name. What comes later wins: the inherited variables; PORT, HOST,
/// INSTANCE, SERVICE and the addresses of the others; the environment files; `environment`.
/// - Parameters:
///   - service: The service.
///   - instance: The instance's number, from 1.
///   - port: Its port.
///   - addresses: What ``addressEnvironment(for:in:)`` gives.
///   - inherited: supd's own environment, of which only `inheritEnvironment` is taken.
///   - files: The variables of the environment files, in the order of `environmentFiles`.
package func instanceEnvironment(
    of service: Service, instance: Int, port: UInt16, addresses: [(name: String, value: String)],
    inherited: [String: String], files: [[(name: String, value: String)]]
) -> [(name: String, value: String)] {
    var result: [String: String] = [:]
    for name in service.inheritEnvironment {
        if let value = inherited[name] { result[name] = value }
    }
    let value = templateValues(service: service.name, instance: instance, port: port)
    for variable in Template.Variable.allCases { result[variable.rawValue] = value(variable) }
    for (name, value) in addresses { result[name] = value }
    for (name, value) in files.joined() { result[name] = value }
    for variable in service.environment { result[variable.name] = variable.value.expanded(value) }
    return result.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
}
