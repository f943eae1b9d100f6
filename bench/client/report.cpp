// SPDX-License-Identifier: MIT
#include "figures.hpp"
#include "result.hpp"

namespace bench {

void report(const settings& asked, const result& measured) {
    const figures told = {
        {"mode", name_of(asked.kind)},
        {"flows", asked.flow_count},
        {"outstanding", asked.outstanding},
        {"size", asked.size},
        {"offload", asked.is_offloading},
        {"seconds", measured.seconds},
        {"sent", measured.sent},
        {"received", measured.received},
        {"lost", measured.lost ? figures(*measured.lost) : figures()},
        {"duplicated", measured.duplicated},
        {"corrupted", measured.corrupted},
        {"refused", measured.refused},
        {"rate", measured.rate},
        {"cpu_ns_per_datagram", cpu_ns_per(measured.own_cpu_ns, measured.cpu_datagrams)},
        {"server_cpu_ns_per_datagram", cpu_ns_per(measured.server_cpu_ns, measured.cpu_datagrams)},
        {"trains_received", measured.trains_received},
        {"datagrams_in_trains", measured.datagrams_in_trains},
        {"rtt_ns", round_trip_figures(measured.round_trips)}};
    print(told, asked.is_json);
}

}  // namespace bench
