import Manifest

/// The variables that supd sets for every instance, with the addresses of other services worked out once.
struct ServiceAddresses: Sendable {
    private let services: [(name: String, variables: [(name: String, value: String)])]

    /// Works out the addresses of all services.
    init(_ manifest: Manifest) {
        services = manifest.services.map { ($0.name, addressVariables(of: $0)) }
    }

    /// PORT, HOST, INSTANCE, SERVICE and the addresses of all other services.
    func environment(of service: String, instance: Int, port: UInt16) -> [(name: String, value: String)] {
        let value = templateValues(service: service, instance: instance, port: port)
        var variables = Template.Variable.allCases.map { (name: $0.rawValue, value: value($0)) }
        for other in services where other.name != service { variables += other.variables }
        return variables
    }
}
