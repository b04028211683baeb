# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
#
# Completion of usbmgrctl(8) for bash, in the file usbmgrctl of a directory
# bash-completion/completions.

# What is plugged, and which machines there are; nothing if nobody answers.
_usbmgrctl_ask()
{
	"${COMP_WORDS[0]}" "${socket[@]}" -j show "$1" 2>/dev/null |
		sed -n 's/.*{"'"$2"'":"\([^"\\ ]*\)".*/\1/p'
}

_usbmgrctl()
{
	local cur prev command="" argument=0 options="-j -s" i
	local -a socket=()

	cur=${COMP_WORDS[COMP_CWORD]}
	# "3:9" is three words for bash; it is one for us.
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n : cur
	fi
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s)	socket=(-s "${COMP_WORDS[++i]}") ;;
		-*|:|=)	;;
		show|log|audit)
			[[ -n $command ]] || command=${COMP_WORDS[i]} ;;
		*)	if [[ $command = show || $command = log ||
			    $command = audit ]]; then
				command+=" ${COMP_WORDS[i]}"
			elif [[ -z $command ]]; then
				command=${COMP_WORDS[i]}
			elif [[ ${COMP_WORDS[i - 1]} != : ]]; then
				argument=$((argument + 1))
			fi ;;
		esac
	done
	COMPREPLY=()
	if [[ $prev = -s ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	fi
	case $command in
	attach|detach)		options+=" -f" ;;
	explain|replay)		options+=" -f" ;;
	"show counters")	options+=" -o" ;;
	"audit trace")		options+=" -d" ;;
	esac
	if [[ $cur = -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
		return
	fi
	case $command in
	"")	mapfile -t COMPREPLY < <(compgen -W "attach audit check detach
		    explain generate log monitor policy reload replay show" \
		    -- "$cur") ;;
	show)	mapfile -t COMPREPLY < <(compgen -W "counters devices processes
		    rules vms" -- "$cur") ;;
	log)	mapfile -t COMPREPLY < <(compgen -W "brief verbose" -- "$cur") ;;
	audit)	mapfile -t COMPREPLY < <(compgen -W "trace verify" -- "$cur") ;;
	explain|detach|policy|attach)
		if [[ $command = attach && $argument -gt 0 ]]; then
			mapfile -t COMPREPLY < <(compgen -W \
			    "$(_usbmgrctl_ask vms vm)" -- "$cur")
		elif [[ $argument -eq 0 ]]; then
			mapfile -t COMPREPLY < <(compgen -W \
			    "$(_usbmgrctl_ask devices device)" -- "$cur")
		fi
		if declare -F __ltrim_colon_completions >/dev/null; then
			__ltrim_colon_completions "$cur"
		fi ;;
	check|replay|"audit verify"|"audit trace")
		mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	esac
}

complete -F _usbmgrctl usbmgrctl
