#!/usr/bin/env bash
# One command on all workers of a TPU slice. launch.submit fills in what stands between two @.
#
# The slice is asked for as a queued resource, waited for, and asked for anew when it was taken away. The command is started again where
# it was stopped or a worker was lost, and goes on from its checkpoint. Ctrl-C ends this loop alone: the workers go on, and the same
# script finds them, stops them in order and starts the command again.
set -uo pipefail

name=@name@
zone=@zone@
prepare=@prepare@
run=@run@
restarts=@restarts@
pause=${PAUSE:-30} # seconds between two looks

queue() { gcloud compute tpus queued-resources "$1" "$name" --zone="$zone" "${@:2}"; }

# ACTIVE, WAITING_FOR_RESOURCES, SUSPENDED, ...; nothing where there is none.
state() { gcloud compute tpus queued-resources list --zone="$zone" --filter="name~/$name\$" --format="value(state.state)"; }

# The status is that of the first worker that failed.
on_all() { gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1" </dev/null; }

leave() {
    echo "The slice is still there, and may cost: gcloud compute tpus queued-resources delete $name --zone=$zone --force" >&2
    exit "$1"
}

state >/dev/null || exit # what is wrong with gcloud itself is told at once
again=0
while true; do
    found=$(state) || found="not known"
    case $found in
        ACTIVE)
            on_all "$prepare" && on_all "$run"
            status=$?
            case $status in
                0 | 2 | 126 | 127) leave "$status" ;; # finished, a mistake, or no such program: the same command would end so again
            esac
            if ((++again > restarts)); then
                echo "ended with status $status; started again $((again - 1)) times, the most that RESTARTS allows" >&2
                leave "$status"
            fi
            echo "ended with status $status: once more" >&2
            ;;
        SUSPENDED)
            echo "the slice was taken away: it is asked for anew" >&2
            queue delete --force --quiet
            ;;
        FAILED)
            echo "no slice can be had: gcloud compute tpus queued-resources describe $name --zone=$zone says why" >&2
            leave 1
            ;;
        "") queue create --node-id="$name" --accelerator-type=@accelerator@ --runtime-version=@runtime@ @options@ || exit ;;
        *) echo "the slice is $found" >&2 ;;
    esac
    sleep "$pause"
done
