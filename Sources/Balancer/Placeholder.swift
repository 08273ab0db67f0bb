import Glibc
package struct BalancerConfiguration { package init() {} }
package func runBalancer(_ c: BalancerConfiguration) -> Int32 { sleep(100000); return 0 }
