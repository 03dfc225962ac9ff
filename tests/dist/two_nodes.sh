#!/usr/bin/env bash
# Two "machines" on one: network namespaces joined by a veth pair of 1 ms and 1 Gbit/s, mpirun over both.
#
#   two_nodes.sh run RANK_PROGRAM ARGUMENTS...    runs it on both and returns mpirun's exit code
#   two_nodes.sh cut RANK_PROGRAM ARGUMENTS...    the same, cuts the link a second after a rank has printed "running", and
#                                                 prints what the ranks said and "node-a: code 75, node-b: code 75, 3 s after
#                                                 the cut"
#
# Exit code 77, with a line that says why: this kernel or user cannot make such a network.
set -u
mode=$1
shift
a=r1a$$ b=r1b$$ folder=$(mktemp -d)
cannot() { echo "two_nodes: skipped: $1"; exit 77; }
clean() {
  ip netns pids "$a" 2>/dev/null | xargs -r kill -9 2>/dev/null
  ip netns pids "$b" 2>/dev/null | xargs -r kill -9 2>/dev/null
  ip netns del "$a" 2>/dev/null
  ip netns del "$b" 2>/dev/null
  rm -rf "$folder"
}
trap clean EXIT

((EUID == 0)) || cannot "network namespaces need root"
for tool in ip tc unshare mpirun; do command -v $tool >/dev/null || cannot "no $tool"; done
ip netns add "$a" 2>"$folder/why" && ip netns add "$b" 2>"$folder/why" || cannot "ip netns add: $(cat "$folder/why")"
ip link add "va$$" netns "$a" type veth peer name "vb$$" netns "$b" 2>"$folder/why" || cannot "veth: $(cat "$folder/why")"
ip -n "$a" addr add 10.77.0.1/24 dev "va$$" && ip -n "$b" addr add 10.77.0.2/24 dev "vb$$"
for end in "$a va$$" "$b vb$$"; do
  read -r space link <<<"$end"
  ip -n "$space" link set lo up
  ip -n "$space" link set "$link" up
  tc -n "$space" qdisc add dev "$link" root netem delay 1ms rate 1gbit 2>/dev/null ||
    tc -n "$space" qdisc add dev "$link" root tbf rate 1gbit burst 256kb latency 50ms 2>/dev/null ||
    echo "two_nodes: neither netem nor tbf in this kernel: the link is as fast as memory"
done

# What mpirun takes for ssh: the other "machine" has a name of its own, or MPI would look for its ranks in shared memory.
cat >"$folder/agent" <<END
#!/bin/sh
shift
exec ip netns exec $b unshare --uts sh -c 'hostname node-b; exec sh -c "\$0"' "\$*"
END
chmod +x "$folder/agent"

# Each rank leaves its exit code and what it said in a file: over a link that is cut mpirun hears nothing.
cat >"$folder/rank" <<END
#!/bin/sh
node=\$(hostname)
trap : TERM
"\$@" 2>"$folder/\$node.err"
code=\$?
cat "$folder/\$node.err" >&2
echo \$code >"$folder/\$node.code"
exit \$code
END
chmod +x "$folder/rank"

ip netns exec "$a" unshare --uts sh -c 'hostname node-a; exec "$@"' _ \
  timeout -k 2 60 mpirun --allow-run-as-root -n 2 --host 10.77.0.1:1,10.77.0.2:1 --bind-to none \
  --mca plm_rsh_agent "$folder/agent" --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
  "$folder/rank" "$@" >"$folder/out" 2>"$folder/err" &
job=$!
if [[ $mode == run ]]; then
  wait $job
  code=$?
  cat "$folder/out"
  cat "$folder/err" >&2
  exit $code
fi
until grep -q running "$folder/out" || ! kill -0 $job 2>/dev/null; do sleep 0.1; done
sleep 1
ip -n "$a" link set "va$$" down
start=$SECONDS
while ((SECONDS - start < 30)) && ! [[ -s $folder/node-a.code && -s $folder/node-b.code ]]; do sleep 0.1; done
cat "$folder"/node-?.err
echo "node-a: code $(cat "$folder/node-a.code" 2>&1), node-b: code $(cat "$folder/node-b.code" 2>&1), $((SECONDS - start)) s after the cut"
exit 0  # mpirun would wait for the other machine's daemon; it goes with the network
