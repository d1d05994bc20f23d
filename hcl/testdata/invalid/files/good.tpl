Day ${day}%{ for r in regions }
 - ${r}%{ endfor }
