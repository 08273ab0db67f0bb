/// What other services are told of one: its `NAME_ADDRESS`, `NAME_HOST` and `NAME_PORT`, of its first TCP front, else of
/// its fixed port; `NAME_ADDRESS=unix:/path` alone for one that has a Unix front alone; nothing for one that has neither.
/// NAME is upper case with `_` for `-`.
package func addressVariables(of service: Service) -> [(name: String, value: String)] {
    let name = service.name.uppercased().replacing("-", with: "_")
    let front = service.listen.lazy.compactMap(\.address.reachable).first
    if let (host, port) = front ?? service.port.map({ ("127.0.0.1", $0) }) {
        let address = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
        return [("\(name)_ADDRESS", address), ("\(name)_HOST", host), ("\(name)_PORT", "\(port)")]
    }
    return service.listen.first.map { [("\(name)_ADDRESS", "\($0.address)")] } ?? []
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
